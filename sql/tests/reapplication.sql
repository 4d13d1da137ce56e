-- What is done again after a restore, by itself: each kind of entry, what the database doesn't know, twice.
BEGIN;
SELECT plan(55);

CREATE FUNCTION pg_temp.app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-00000000000c'::uuid $$;
CREATE FUNCTION pg_temp.customer(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT format('cccccccc-0000-4000-a000-%s', lpad(n::text, 12, '0'))::uuid $$;
-- Line n of an export.
CREATE FUNCTION pg_temp.line(n int, action text, customer int, further jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('id', format('dddddddd-0000-4000-a000-%s', lpad(n::text, 12, '0')), 'action', action,
        'customer_id', pg_temp.customer(customer), 'reason', 'asked by letter', 'request', '{}'::jsonb) || further $$;
CREATE FUNCTION pg_temp.reapply(line jsonb, dry_run boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(': ', r.result, r.message) FROM service.reapply(pg_temp.app(), line, dry_run) AS r $$;
CREATE FUNCTION pg_temp.entries() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT action || ' ' || outcome FROM audit.entries WHERE app_id = pg_temp.app() ORDER BY seq $$;
CREATE FUNCTION pg_temp.lives(n int) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM public.customers WHERE app_id = pg_temp.app() AND id = pg_temp.customer(n)) $$;

INSERT INTO public.customers (app_id, id, first_name, last_name, phone_number)
SELECT pg_temp.app(), pg_temp.customer(n), 'Ada', 'Lovelace', '+1' FROM generate_series(1, 9) AS n;
INSERT INTO public.invoices (app_id, customer_id) VALUES (pg_temp.app(), pg_temp.customer(2));
INSERT INTO service.api_keys (app_id, client_key, secret_digest, name, role)
VALUES (pg_temp.app(), 'ck_reapply', sha256('s'), 'office', 'admin');

-- Deletions.
SELECT is(pg_temp.reapply(pg_temp.line(1, 'customer.delete', 99)), 'unchanged', 'who isn''t there stays dead');
SELECT is(pg_temp.reapply(pg_temp.line(1, 'customer.delete', 1), true), 'deleted', 'a dry run says what would be done');
SELECT ok(pg_temp.lives(1), 'and does nothing');
SELECT is_empty($$ SELECT pg_temp.entries() $$, 'without an entry');
SELECT is(pg_temp.reapply(pg_temp.line(1, 'customer.delete', 1)), 'deleted', 'one who walks is dead again');
SELECT ok(NOT pg_temp.lives(1), 'indeed');
SELECT results_eq(
    $$ SELECT request ->> 'reapplied_from', reason, before_image ->> 'first_name', actor_name = session_user FROM audit.entries WHERE app_id = pg_temp.app() $$,
    $$ SELECT pg_temp.line(1, '', 1) ->> 'id', 'asked by letter', 'Ada', true $$,
    'its entry says of which it is the repetition, and who repeated it');
SELECT is(pg_temp.reapply(pg_temp.line(1, 'customer.delete', 1)), 'unchanged', 'twice does nothing');
INSERT INTO public.customers (app_id, id, first_name, last_name) VALUES (pg_temp.app(), pg_temp.customer(1), 'Ada', 'Again');
SELECT is(pg_temp.reapply(pg_temp.line(1, 'customer.delete', 1)), 'unchanged', 'nor to one who came back since');
SELECT ok(pg_temp.lives(1), 'who lives');
SELECT is(pg_temp.reapply(pg_temp.line(2, 'customer.delete', 2), true), 'failed: refused by invoices_belong_to_a_customer',
    'a dry run names what would refuse');
SELECT is(pg_temp.reapply(pg_temp.line(2, 'customer.delete', 2)), 'failed: refused by invoices_belong_to_a_customer',
    'as the deletion itself does');
SELECT is(pg_temp.reapply(pg_temp.line(2, 'customer.delete', 2)), 'failed: refused by invoices_belong_to_a_customer', 'every time');
SELECT results_eq($$ SELECT pg_temp.entries() $$, ARRAY ['customer.delete SUCCEEDED', 'customer.delete REFUSED'], 'with one entry');
DELETE FROM public.invoices WHERE app_id = pg_temp.app();
SELECT is(pg_temp.reapply(pg_temp.line(2, 'customer.delete', 2)), 'deleted', 'once nothing refers to it any more, it is done');
INSERT INTO public.legal_holds (app_id, customer_id, reason, until, placed_at, placed_by)
VALUES (pg_temp.app(), pg_temp.customer(3), 'lawsuit', now() - interval '1 s', now(), 'office'),
       (pg_temp.app(), pg_temp.customer(4), 'lawsuit', NULL, now(), 'office');
SELECT is(pg_temp.reapply(pg_temp.line(3, 'customer.delete', 3)), 'deleted', 'a hold whose time is over doesn''t refuse');
SELECT is(pg_temp.reapply(pg_temp.line(4, 'customer.delete', 4)), 'failed: refused by legal_holds_keep_a_customer', 'one that holds does');

-- Redactions.
SELECT is(pg_temp.reapply(pg_temp.line(5, 'customer.redact', 98)), 'unchanged', 'of whom nothing is known, nothing is erased');
SELECT is(pg_temp.reapply(pg_temp.line(6, 'customer.redact', 4), true), 'failed: the customer is under a hold', 'a hold refuses, as a dry run says');
SELECT is(pg_temp.reapply(pg_temp.line(6, 'customer.redact', 4)), 'failed: the customer is under a hold', 'and a real one');
SELECT is(pg_temp.reapply(pg_temp.line(7, 'customer.redact', 5)), 'redacted', 'who was redacted is so again');
SELECT results_eq($$ SELECT first_name, last_name, phone_number FROM public.customers WHERE app_id = pg_temp.app() AND id = pg_temp.customer(5) $$,
    $$ VALUES ('[redacted]', '', '') $$, 'indeed');
SELECT is(pg_temp.reapply(pg_temp.line(7, 'customer.redact', 5)), 'unchanged', 'once');
SELECT is(pg_temp.reapply(pg_temp.line(8, 'customer.redact', 2)), 'redacted', 'who is dead is redacted in the trail');
SELECT is_empty(
    $$ SELECT FROM audit.entries WHERE app_id = pg_temp.app() AND customer_id = pg_temp.customer(2) AND before_image ->> 'first_name' = 'Ada' $$,
    'where nothing of the name is left');

-- Keys.
SELECT is(pg_temp.reapply(pg_temp.line(9, 'key.revoke', 1, '{"request": {"key": "ck_never"}}')), 'unchanged', 'a key that isn''t there can''t be revoked');
SELECT is(pg_temp.reapply(pg_temp.line(10, 'key.revoke', 1, '{"request": {"key": "ck_reapply"}}')), 'revoked', 'one that is there is');
SELECT is(pg_temp.reapply(pg_temp.line(10, 'key.revoke', 1, '{"request": {"key": "ck_reapply"}}')), 'unchanged', 'once');

-- Holds.
SELECT is(pg_temp.reapply(pg_temp.line(11, 'hold.place', 6, '{"request": {"hold": {"until": "2020-01-01T00:00:00Z"}}}')), 'unchanged',
    'a hold whose time is over isn''t placed');
SELECT is(pg_temp.reapply(pg_temp.line(12, 'hold.place', 6, '{"request": {"hold": {"until": null}}}')), 'held', 'another one is');
SELECT ok(service.is_held(pg_temp.app(), pg_temp.customer(6)), 'and holds');
SELECT is(pg_temp.reapply(pg_temp.line(13, 'hold.release', 7)), 'unchanged', 'where none is, none is released');
SELECT is(pg_temp.reapply(pg_temp.line(14, 'hold.release', 6)), 'held', 'but this one');
SELECT ok(NOT service.is_held(pg_temp.app(), pg_temp.customer(6)), 'which is gone');

-- Secrets that were rotated away.
INSERT INTO service.api_keys (app_id, id, client_key, secret_digest, name, role)
VALUES (pg_temp.app(), 'eeeeeeee-0000-4000-a000-000000000001', 'ck_rotated', sha256('s'), 'office', 'admin');
SELECT is(pg_temp.reapply(pg_temp.line(16, 'key.rotate', 1, '{"request": {"key": "ck_rotated"}, "occurred_at": "1767225600000000"}'), true), 'revoked',
    'a key whose secret is lost is revoked, says a dry run');
SELECT is((SELECT revoked_at FROM service.api_keys WHERE client_key = 'ck_rotated'), NULL, 'which does nothing');
SELECT is(pg_temp.reapply(pg_temp.line(16, 'key.rotate', 1, '{"request": {"key": "ck_rotated"}, "occurred_at": "1767225600000000"}')), 'revoked', 'and is');
SELECT is((SELECT revoked_at IS NOT NULL FROM service.api_keys WHERE client_key = 'ck_rotated'), true, 'indeed');
SELECT is((SELECT action FROM audit.entries WHERE app_id = pg_temp.app() ORDER BY seq DESC LIMIT 1), 'key.revoke', 'as its entry says');
SELECT is(pg_temp.reapply(pg_temp.line(16, 'key.rotate', 1, '{"request": {"key": "ck_rotated"}, "occurred_at": "1767225600000000"}')), 'unchanged', 'once');
UPDATE service.api_keys SET revoked_at = NULL WHERE client_key = 'ck_rotated';

-- What was scheduled, moved and called off.
CREATE FUNCTION pg_temp.schedule(n int) RETURNS text LANGUAGE sql AS $$
    SELECT s.status || ' ' || (s.delete_at AT TIME ZONE 'UTC')::date FROM service.scheduled_deletions AS s
    WHERE s.app_id = pg_temp.app() AND s.customer_id = pg_temp.customer(n) $$;
INSERT INTO service.scheduled_deletions (app_id, customer_id, delete_at, key_id, scheduled_by, try_after)
SELECT pg_temp.app(), pg_temp.customer(n), '2030-01-01', 'eeeeeeee-0000-4000-a000-000000000001', gen_random_uuid(), '2030-01-01'
FROM generate_series(6, 8) AS n;
SELECT is(pg_temp.reapply(pg_temp.line(17, 'deletion.cancel', 6, '{"occurred_at": "1767225600000000"}'), true), 'cancelled', 'what was called off is called off again');
SELECT is(pg_temp.schedule(6), 'SCHEDULED 2030-01-01', 'not in a dry run');
SELECT is(pg_temp.reapply(pg_temp.line(17, 'deletion.cancel', 6, '{"occurred_at": "1767225600000000"}')), 'cancelled', 'but in a real one');
SELECT is(pg_temp.schedule(6), 'CANCELLED 2030-01-01', 'indeed');
SELECT is(pg_temp.reapply(pg_temp.line(17, 'deletion.cancel', 6, '{"occurred_at": "1767225600000000"}')), 'unchanged', 'once');
CREATE FUNCTION pg_temp.moved(n int, customer int, key text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.reapply(pg_temp.line(n, 'deletion.schedule', customer, jsonb_build_object(
        'occurred_at', '1767225600000000', 'actor_key_id', key, 'request', '{"schedule": {"delete_at": "2031-01-01T00:00:00Z"}}'::jsonb))) $$;
SELECT is(pg_temp.moved(18, 7, 'eeeeeeee-0000-4000-a000-000000000001'), 'scheduled', 'what was moved is moved again');
SELECT is(pg_temp.schedule(7), 'SCHEDULED 2031-01-01', 'indeed');
SELECT is(pg_temp.moved(18, 7, 'eeeeeeee-0000-4000-a000-000000000001'), 'unchanged', 'once');
SELECT is(pg_temp.moved(19, 9, 'eeeeeeee-0000-4000-a000-000000000002'), 'failed: the key that scheduled the deletion isn''t there',
    'a schedule runs as a key that is there');
SELECT is(pg_temp.moved(20, 99, 'eeeeeeee-0000-4000-a000-000000000001'), 'unchanged', 'and for a customer who is');

-- What schedules and bulk deletions came to.
INSERT INTO service.bulk_deletions (app_id, bulk_id, dry_run, key_id, created_at, try_after, total)
VALUES (pg_temp.app(), 'bbbbbbbb-0000-4000-a000-000000000001', false, 'eeeeeeee-0000-4000-a000-000000000001', now(), now(), 2);
INSERT INTO service.bulk_items (app_id, bulk_id, "position", customer_id)
SELECT pg_temp.app(), 'bbbbbbbb-0000-4000-a000-000000000001', n, pg_temp.customer(n + 7) FROM generate_series(1, 2) AS n;
SELECT lives_ok(
    $$ SELECT service.note_ends(pg_temp.app(), jsonb_build_array(
           pg_temp.line(21, 'customer.delete', 8, '{"outcome": "REFUSED", "request": {"bulk": "bbbbbbbb-0000-4000-a000-000000000001"}}'),
           pg_temp.line(22, 'customer.delete', 8, jsonb_build_object('outcome', 'SUCCEEDED', 'request', jsonb_build_object('scheduled_by', (
               SELECT scheduled_by FROM service.scheduled_deletions WHERE customer_id = pg_temp.customer(8))))))) $$,
    'what an export says they came to is noted');
SELECT results_eq(
    $$ SELECT pg_temp.schedule(8), b.refused, (SELECT count(*)::int FROM service.bulk_items AS i WHERE i.app_id = b.app_id AND i.bulk_id = b.bulk_id AND i.outcome IS NULL)
       FROM service.bulk_deletions AS b WHERE b.app_id = pg_temp.app() $$,
    $$ VALUES ('DELETED 2030-01-01', 1, 1) $$, 'so that no worker begins it again');
SELECT is(pg_temp.reapply(pg_temp.line(23, 'deletion.bulk-cancel', 1, '{"customer_id": null, "request": {"bulk": "bbbbbbbb-0000-4000-a000-000000000001"}}')),
    'cancelled', 'a bulk deletion that was stopped is stopped again');
SELECT is(pg_temp.reapply(pg_temp.line(23, 'deletion.bulk-cancel', 1, '{"customer_id": null, "request": {"bulk": "bbbbbbbb-0000-4000-a000-000000000001"}}')),
    'unchanged', 'once');

SELECT throws_ok($$ SELECT pg_temp.reapply(pg_temp.line(15, 'customer.update', 8)) $$, 'P0001', NULL,
    'what isn''t among these is never done again');

SELECT finish();
ROLLBACK;
