-- Webhooks as clients manage them: what is listed, changed, rotated, replayed and deleted, and never another app's.
BEGIN;
SELECT plan(40);

CREATE FUNCTION pg_temp.app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-00000000000d'::uuid $$;
CREATE FUNCTION pg_temp.other_app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-00000000000e'::uuid $$;
CREATE FUNCTION pg_temp.hook(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT format('bbbbbbbb-0000-4000-a000-%s', lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.row() RETURNS SETOF service.webhooks LANGUAGE sql AS $$
    SELECT * FROM service.webhooks WHERE app_id = pg_temp.app() AND id = pg_temp.hook(1) $$;
CREATE FUNCTION pg_temp.change(fields jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT service.change_webhook(pg_temp.app(), pg_temp.hook(1), fields)::jsonb $$;
-- As if a deliverer had it, and its receiver had failed.
CREATE FUNCTION pg_temp.let_it_run() RETURNS void LANGUAGE sql AS $$
    UPDATE service.webhooks SET lease_expires_at = clock_timestamp() + interval '25 s', retry_at = clock_timestamp() + interval '30 s',
        failures = 3, failing_since = clock_timestamp()
    WHERE app_id = pg_temp.app() AND id = pg_temp.hook(1) $$;

SELECT is_empty($$ SELECT service.list_webhooks(pg_temp.app()) $$, 'an app begins without webhooks');
SELECT service.create_webhook(pg_temp.app(), pg_temp.hook(1), 'https://one/', '{customer.deleted}', 'first', '\x01');
SELECT service.create_webhook(pg_temp.app(), pg_temp.hook(2), 'https://two/', NULL, NULL, '\x02');
SELECT service.create_webhook(pg_temp.other_app(), pg_temp.hook(3), 'https://three/', NULL, NULL, '\x03');
SELECT results_eq($$ SELECT w::jsonb ->> 'url' FROM service.list_webhooks(pg_temp.app()) AS w $$, ARRAY ['https://one/', 'https://two/'],
    'they are listed in the order in which they were made');
SELECT is((SELECT array_agg(m ORDER BY o) FROM service.list_webhooks(pg_temp.app(), pg_temp.hook(1)) AS w,
    json_object_keys(w::json) WITH ORDINALITY AS k (m, o)), '{id,url,types,description,status,createdAt}',
    'one has these members, and no secret');
SELECT is((SELECT w::jsonb -> 'types' FROM service.list_webhooks(pg_temp.app(), pg_temp.hook(2)) AS w), to_jsonb(service.event_types()),
    'without types it gets all of them');
SELECT is_empty($$ SELECT service.list_webhooks(pg_temp.app(), pg_temp.hook(3)) $$, 'another app''s looks like none');

-- Changes.
SELECT is(service.change_webhook(pg_temp.app(), pg_temp.hook(3), '{"url": "https://mine/"}'), NULL, 'nor can it be changed');
SELECT is((SELECT url FROM service.webhooks WHERE id = pg_temp.hook(3)), 'https://three/', 'indeed');
SELECT pg_temp.let_it_run();
SELECT is(pg_temp.change('{"url": "https://uno/"}') - '{id,createdAt}'::text[],
    '{"url": "https://uno/", "types": ["customer.deleted"], "description": "first", "status": "ENABLED"}'::jsonb,
    'members that aren''t given stay as they are');
SELECT results_eq($$ SELECT fence, lease_expires_at, retry_at, failures FROM pg_temp.row() $$, $$ VALUES (2, NULL::timestamptz, NULL::timestamptz, 3) $$,
    'a deliverer that is under way finds out, and the next one begins at once');
SELECT is(pg_temp.change('{"types": ["customer.redacted", "customer.deleted"]}') -> 'types', '["customer.redacted", "customer.deleted"]'::jsonb, 'other types');
SELECT is(pg_temp.change('{"types": null}') -> 'types', to_jsonb(service.event_types()), 'all types');
SELECT is(pg_temp.change('{"description": null}') ->> 'description', NULL, 'no description');
SELECT throws_ok($$ SELECT pg_temp.change('{"status": "PAUSED"}') $$, '23514', NULL, 'a status is one of two');
SELECT is(pg_temp.change('{"status": "ENABLED"}') ->> 'status', 'ENABLED', 'enabling what is enabled');
SELECT is((SELECT failures FROM pg_temp.row()), 3, 'forgets no failure');
SELECT is(pg_temp.change('{"status": "DISABLED"}') ->> 'status', 'DISABLED', 'it is disabled');
SELECT is((SELECT failures FROM pg_temp.row()), 3, 'with its failures');
SELECT is(pg_temp.change('{"status": "ENABLED"}') ->> 'status', 'ENABLED', 'and enabled');
SELECT results_eq($$ SELECT failures, failing_since FROM pg_temp.row() $$, $$ VALUES (0, NULL::timestamptz) $$, 'without them');

-- Secrets.
SELECT is(service.rotate_webhook_secret(pg_temp.app(), pg_temp.hook(3), '\x04', '1 h'), NULL, 'another app''s secret can''t be replaced');
SELECT isnt(service.rotate_webhook_secret(pg_temp.app(), pg_temp.hook(1), '\x11', '1 h'), NULL, 'its own can');
SELECT results_eq($$ SELECT secret, previous_secret FROM service.webhook_to_ping(pg_temp.app(), pg_temp.hook(1)) $$,
    $$ VALUES ('\x11'::bytea, '\x01'::bytea) $$, 'both sign during the overlap');
UPDATE service.webhooks SET previous_secret_expires_at = clock_timestamp() - interval '1 s' WHERE id = pg_temp.hook(1);
SELECT results_eq($$ SELECT secret, previous_secret FROM service.webhook_to_ping(pg_temp.app(), pg_temp.hook(1)) $$,
    $$ VALUES ('\x11'::bytea, NULL::bytea) $$, 'then the new one alone');
SELECT service.rotate_webhook_secret(pg_temp.app(), pg_temp.hook(1), '\x12', '0');
SELECT results_eq($$ SELECT secret, previous_secret, previous_secret_expires_at FROM pg_temp.row() $$,
    $$ VALUES ('\x12'::bytea, NULL::bytea, NULL::timestamptz) $$, 'without an overlap the old one is gone at once');
SELECT is_empty($$ SELECT service.webhook_to_ping(pg_temp.app(), pg_temp.hook(3)) $$, 'another app''s isn''t pinged');

-- Replays and histories.
SELECT is(service.replay_webhook(pg_temp.app(), pg_temp.hook(3), 7), NULL, 'another app''s stays where it is');
SELECT pg_temp.let_it_run();
SELECT service.append(pg_temp.app(), (
    SELECT jsonb_agg(jsonb_build_object('id', gen_random_uuid(), 'action', 'customer.delete', 'outcome', 'SUCCEEDED')) FROM generate_series(1, 9)));
SELECT isnt(service.replay_webhook(pg_temp.app(), pg_temp.hook(1), 7), NULL, 'its own moves');
SELECT results_eq($$ SELECT after_seq, lease_expires_at, retry_at FROM pg_temp.row() $$, $$ VALUES (7::bigint, NULL::timestamptz, NULL::timestamptz) $$,
    'at once');
SELECT service.replay_webhook(pg_temp.app(), pg_temp.hook(1), 10);
SELECT is((SELECT after_seq FROM pg_temp.row()), 9::bigint, 'no further than the end of its chain, so that what comes next isn''t skipped');
SELECT is_empty($$ SELECT service.list_webhook_deliveries(pg_temp.app(), pg_temp.hook(3), 10) $$, 'another app''s has no history');
SELECT results_eq($$ SELECT service.list_webhook_deliveries(pg_temp.app(), pg_temp.hook(1), 10) $$, ARRAY [''], 'a new one has an empty one');
SELECT service.note_deliveries(pg_temp.app(), pg_temp.hook(1), (
    SELECT jsonb_agg(jsonb_build_object('seq', n, 'id', gen_random_uuid(), 'type', 'customer.deleted', 'attempt', 1, 'status_code', 200,
        'duration_ms', 3, 'ago_ms', 5) ORDER BY n)
    FROM generate_series(1, 5) AS n));
SELECT results_eq(
    $$ SELECT d ->> 'seq' FROM service.list_webhook_deliveries(pg_temp.app(), pg_temp.hook(1), 3) AS l,
       jsonb_array_elements(('[' || l || ']')::jsonb) AS d $$, ARRAY ['5', '4', '3'], 'one is told newest first, as many as asked');

-- How late they are.
SELECT service.append(pg_temp.app(), jsonb_build_array(jsonb_build_object(
    'id', gen_random_uuid(), 'action', 'customer.delete', 'outcome', 'SUCCEEDED')));
UPDATE service.webhooks SET after_seq = 0 WHERE app_id = pg_temp.app();
SELECT results_eq($$ SELECT seconds > 0, failing, disabled FROM service.webhook_lag() $$, $$ VALUES (true, 1::bigint, 0::bigint) $$,
    'an entry that waits for one is a delay');
SELECT service.change_webhook(pg_temp.app(), pg_temp.hook(n), '{"status": "DISABLED"}') FROM generate_series(1, 2) AS n;
SELECT results_eq($$ SELECT seconds, failing, disabled FROM service.webhook_lag() $$, $$ VALUES (0::double precision, 0::bigint, 2::bigint) $$,
    'not where it is disabled');

-- Deletion.
SELECT ok(NOT service.delete_webhook(pg_temp.app(), pg_temp.hook(3)), 'another app''s can''t be deleted');
SELECT ok(service.delete_webhook(pg_temp.app(), pg_temp.hook(1)), 'its own can');
SELECT is((SELECT count(*) FROM service.webhook_deliveries WHERE webhook_id = pg_temp.hook(1)), 0::bigint, 'with its history');
SELECT ok(NOT service.delete_webhook(pg_temp.app(), pg_temp.hook(1)), 'once');

-- Who may call what.
SELECT is_empty($$
    SELECT f.oid::regprocedure FROM pg_proc AS f
    WHERE f.pronamespace = 'service'::regnamespace AND f.proname ~ 'webhook|hold$|schedule|bulk|retain|reapply|reapplication|due_'
      AND has_function_privilege('public', f.oid, 'EXECUTE') $$, 'PUBLIC may not by default');
SELECT is_empty($$
    SELECT f.oid::regprocedure FROM pg_proc AS f
    WHERE f.pronamespace = 'service'::regnamespace AND (f.proname ~ '^reapply' OR f.proname IN ('record_reapplication', 'note_ends',
        'lock_schedule', 'store_schedule', 'call_off', 'open_deletion', 'conclude_bulk_items', 'count_bulk_items', 'settle_bulk',
        'scheduled_deletion', 'deletion_outcome', 'bulk_deletion'))
      AND has_function_privilege('customerd_service', f.oid, 'EXECUTE') $$, 'what is for functions and the owner alone, the service may not');

SELECT finish();
ROLLBACK;
