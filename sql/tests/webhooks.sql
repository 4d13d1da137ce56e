-- Events and the steps of a delivery by themselves: pages, claims, fences, histories.
BEGIN;
SELECT plan(41);

CREATE FUNCTION pg_temp.app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-000000000009'::uuid $$;
CREATE FUNCTION pg_temp.hook(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT format('bbbbbbbb-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.append(outcomes text[], action text DEFAULT 'customer.delete') RETURNS void LANGUAGE sql AS $$
    SELECT count(a.seq)
    FROM service.append(pg_temp.app(), (
        SELECT jsonb_agg(jsonb_build_object('id', gen_random_uuid(), 'action', action, 'outcome', o.outcome) ORDER BY o.n)
        FROM unnest(outcomes) WITH ORDINALITY AS o (outcome, n))) AS a $$;
CREATE FUNCTION pg_temp.delivery(seq bigint, status int) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_array(jsonb_build_object(
        'seq', seq, 'id', gen_random_uuid(), 'type', 'customer.deleted', 'attempt', 1, 'status_code', status,
        'error', CASE WHEN status <> 200 THEN 'failed' END, 'duration_ms', 3, 'ago_ms', 5)) $$;

-- Events.
SELECT bag_eq(
    $$ SELECT service.event_type(a, 'SUCCEEDED') FROM unnest('{customer.create,customer.update,customer.status,customer.archive,
        customer.unarchive,customer.delete,customer.redact,customer.restore,deletion.schedule,deletion.cancel}'::text[]) AS a
       UNION ALL SELECT service.event_type('customer.delete', 'REFUSED') $$,
    $$ SELECT unnest(service.event_types()) $$,
    'every type is that of an entry, and the other way round');
SELECT is_empty($$
    SELECT a, o
    FROM unnest('{customer.bulk-delete,customer.export,key.create,webhook.create,webhook.disable}'::text[]) AS a,
         unnest(enum_range(NULL::service.outcome)) AS o
    WHERE service.event_type(a, o::text) IS NOT NULL $$, 'what doesn''t change a customer is no event');
SELECT is_empty($$
    SELECT o FROM unnest(enum_range(NULL::service.outcome)) AS o
    WHERE o NOT IN ('SUCCEEDED', 'REFUSED') AND service.event_type('customer.delete', o::text) IS NOT NULL $$,
    'nor is what changed nothing, but for a refusal');
SELECT results_eq($$ SELECT seq, type FROM service.events(pg_temp.app(), 0, 10) $$, $$ VALUES (0::bigint, NULL::text) $$,
    'a chain that doesn''t exist ends where the reader is');
SELECT pg_temp.append('{SUCCEEDED,NOT_FOUND,REFUSED,SUCCEEDED,INVALID}');
SELECT results_eq($$ SELECT seq, type FROM service.events(pg_temp.app(), 0, 10) $$,
    $$ VALUES (1::bigint, 'customer.deleted'), (3, 'customer.deletion_refused'), (4, 'customer.deleted'), (5, NULL) $$,
    'a page ends with the place up to which there are no others');
SELECT results_eq($$ SELECT seq, type FROM service.events(pg_temp.app(), 0, 2) $$,
    $$ VALUES (1::bigint, 'customer.deleted'), (3, 'customer.deletion_refused'), (3, NULL) $$, 'a full one with its last event');
SELECT results_eq($$ SELECT seq FROM service.events(pg_temp.app(), 0, 10, '{customer.deletion_refused}') $$,
    $$ VALUES (3::bigint), (5) $$, 'some types alone');
SELECT results_eq($$ SELECT seq FROM service.events(pg_temp.app(), 9, 10) $$, $$ VALUES (9::bigint) $$,
    'one that is ahead stays there');
SELECT pg_temp.append(array_fill('NOT_FOUND'::text, ARRAY [1200]));
SELECT results_eq($$ SELECT seq FROM service.events(pg_temp.app(), 5, 10) $$, $$ VALUES (1005::bigint) $$,
    'no page looks at more than a thousand entries');

-- Webhooks.
SELECT isnt(service.create_webhook(pg_temp.app(), pg_temp.hook(n), 'https://x/', NULL, NULL, '\x01'), NULL, 'made')
FROM generate_series(1, 1) AS n;
SELECT is(
    (SELECT count(service.create_webhook(pg_temp.app(), pg_temp.hook(n), 'https://x/', NULL, NULL, '\x01'))
     FROM generate_series(2, 25) AS n), 19::bigint, 'twenty are the most');
DELETE FROM service.webhooks WHERE id <> pg_temp.hook(1);
SELECT is_empty($$ SELECT FROM service.claim_webhooks(gen_random_uuid(), 9, 9, '25 s') $$, 'one that is up to date isn''t claimed');
SELECT pg_temp.append('{SUCCEEDED,SUCCEEDED}');
SELECT results_eq($$ SELECT fence, after_seq FROM service.claim_webhooks(gen_random_uuid(), 9, 9, '25 s') $$, $$ VALUES (2, 1205::bigint) $$,
    'one that is behind is');
SELECT is_empty($$ SELECT FROM service.claim_webhooks(gen_random_uuid(), 9, 9, '25 s') $$, 'but by one instance alone');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 2, 1, pg_temp.delivery(1206, 200), 1206, '25 s', 0, NULL, false),
    'HELD', 'whose place moves');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 2, 1, pg_temp.delivery(1206, 200), 1206, '25 s', 0, NULL, false),
    'HELD', 'its record again, because the answer was lost');
SELECT is((SELECT deliveries FROM service.webhooks), 1::bigint, 'isn''t counted twice');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 2, 2, '[]', 1206, '25 s', 0, NULL, false), 'HELD', 'the next one');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 2, 1, pg_temp.delivery(1206, 200), 1205, NULL, 0, NULL, false),
    'HELD', 'is overtaken by one that comes late');
SELECT results_eq($$ SELECT after_seq, deliveries, lease_expires_at IS NULL FROM service.webhooks $$,
    $$ VALUES (1206::bigint, 1::bigint, false) $$, 'which neither moves the place back nor ends the lease');
UPDATE service.webhooks SET lease_expires_at = clock_timestamp() - interval '1 s';
SELECT results_eq($$ SELECT fence, after_seq FROM service.claim_webhooks(gen_random_uuid(), 9, 9, '25 s') $$, $$ VALUES (3, 1206::bigint) $$,
    'another takes over when the lease has ended');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 2, 3, pg_temp.delivery(1207, 200), 1207, '25 s', 0, NULL, false),
    'LOST', 'and the first one moves nothing any more');
SELECT is((SELECT after_seq FROM service.webhooks), 1206::bigint, 'though it tried');
SELECT is((SELECT count(*) FROM service.webhook_deliveries), 2::bigint, 'while the history tells of what it did');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 2, 3, pg_temp.delivery(1207, 200), 1207, '25 s', 0, NULL, false),
    'LOST', 'even if it tries again');
SELECT is((SELECT count(*) FROM service.webhook_deliveries), 2::bigint, 'once');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 3, 1, pg_temp.delivery(1207, 500), 1206, NULL, 1, '5 s', false),
    'HELD', 'a failure ends the turn');
SELECT is_empty($$ SELECT FROM service.claim_webhooks(gen_random_uuid(), 9, 9, '25 s') $$, 'until it is time to try again');
UPDATE service.webhooks SET retry_at = clock_timestamp() - interval '1 s';
SELECT is_empty($$ SELECT FROM service.claim_webhooks(gen_random_uuid(), 9, 0, '25 s') $$, 'if there is a place for those that fail');
SELECT is((SELECT count(*) FROM service.claim_webhooks(pg_temp.hook(9), 9, 1, '25 s')), 1::bigint, 'then it is claimed');
SELECT is((SELECT count(*) FROM service.claim_webhooks(pg_temp.hook(9), 9, 1, '25 s')), 1::bigint,
    'and again by the same claim, whose answer was lost');
SELECT is_empty($$ SELECT FROM service.claim_webhooks(gen_random_uuid(), 9, 1, '25 s') $$, 'but by no other');
UPDATE service.webhooks SET failing_since = failing_since - interval '3 days';
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 5, 1, pg_temp.delivery(1207, 500), 1206, NULL, 2, '30 s', false),
    'DISABLED', 'three days without a success disable it');
SELECT is(service.record_deliveries(pg_temp.app(), pg_temp.hook(1), 5, 1, pg_temp.delivery(1207, 500), 1206, NULL, 2, '30 s', false),
    'DISABLED', 'the same record has the same answer');
SELECT is((SELECT count(*) FROM audit.entries AS e WHERE e.app_id = pg_temp.app() AND e.action = 'webhook.disable'), 1::bigint,
    'and no entry of its own');
SELECT results_eq(
    $$ SELECT e.action, e.request ->> 'cause' FROM audit.entries AS e WHERE e.app_id = pg_temp.app() ORDER BY e.seq DESC LIMIT 1 $$,
    $$ VALUES ('webhook.disable', 'failing') $$, 'as an entry says');
SELECT is_empty($$ SELECT FROM service.claim_webhooks(gen_random_uuid(), 9, 9, '25 s') $$, 'so that it isn''t claimed');
SELECT isnt(service.change_webhook(pg_temp.app(), pg_temp.hook(1), '{"status":"ENABLED"}'), NULL, 'enabled again');
SELECT results_eq($$ SELECT after_seq, failures FROM service.claim_webhooks(gen_random_uuid(), 9, 0, '25 s') $$, $$ VALUES (1206::bigint, 0) $$,
    'it goes on where it stopped');
SELECT service.reseal_webhook(pg_temp.app(), pg_temp.hook(1), w.secret, NULL, '\x02', NULL) FROM service.webhooks AS w;
SELECT service.reseal_webhook(pg_temp.app(), pg_temp.hook(1), '\x01', NULL, '\x03', NULL);
SELECT results_eq($$ SELECT secret FROM service.webhook_secrets('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', 9) $$,
    $$ VALUES ('\x02'::bytea) $$, 'a secret is encrypted again only if it is the one that was read');
SELECT service.note_deliveries(pg_temp.app(), pg_temp.hook(1), (
    SELECT jsonb_agg(pg_temp.delivery(n, 200) -> 0) FROM generate_series(1, 600) AS n)) FROM generate_series(1, 2);
SELECT is((SELECT count(*) || ' ' || min(number) || ' ' || max(number) FROM service.webhook_deliveries), '1000 205 1204',
    'the history keeps the last thousand');

SELECT finish();
ROLLBACK;
