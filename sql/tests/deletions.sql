-- The life of a deletion by itself: holds, schedules, large bulks, retention. Each function: what it does, what it refuses,
-- and that repeating it, or another app, changes nothing.
BEGIN;
SELECT plan(108);

CREATE FUNCTION pg_temp.app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-00000000000a'::uuid $$;
CREATE FUNCTION pg_temp.other_app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-00000000000b'::uuid $$;
CREATE FUNCTION pg_temp.customer(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT format('cccccccc-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.key(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT format('eeeeeeee-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid $$;
-- An attempt that is under way, as admission leaves it.
CREATE FUNCTION pg_temp.attempt(action text, key int DEFAULT 1, entry jsonb DEFAULT '{"actor_name": "back office"}', app uuid DEFAULT pg_temp.app())
RETURNS uuid LANGUAGE sql AS $$
    INSERT INTO service.attempts (app_id, attempt_id, key_id, action, admitted_at, entry, lease_expires_at, ttl)
    VALUES (app, gen_random_uuid(), pg_temp.key(key), action, clock_timestamp(), entry, clock_timestamp() + interval '15 s', '24 h')
    RETURNING attempt_id $$;
CREATE FUNCTION pg_temp.tag(n int) RETURNS text[] LANGUAGE sql AS $$
    SELECT ARRAY [service.etag(service.record(c))] FROM public.customers AS c
    WHERE c.app_id = pg_temp.app() AND c.id = pg_temp.customer(n) $$;
CREATE FUNCTION pg_temp.answer(r service.receipt) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT (r).outcome || ' ' || (r).status_code $$;
-- How an attempt of a deletion that was taken ends.
CREATE FUNCTION pg_temp.end_attempt(attempt uuid, ending text) RETURNS void LANGUAGE sql AS $$
    SELECT service.finish(pg_temp.app(), attempt, ending::service.ending, '{}') $$;

INSERT INTO public.customers (app_id, id, first_name, last_name, phone_number)
SELECT a, pg_temp.customer(n), 'Ada', 'Lovelace', '+1'
FROM generate_series(1, 20) AS n, unnest(ARRAY [pg_temp.app(), pg_temp.other_app()]) AS a;
INSERT INTO service.api_keys (app_id, id, client_key, secret_digest, name, role, revoked_at, expires_at, permissions)
VALUES (pg_temp.app(), pg_temp.key(1), 'ck_admin', sha256('s'), 'back office', 'admin', NULL, NULL, NULL),
       (pg_temp.app(), pg_temp.key(2), 'ck_gone', sha256('s'), 'gone', 'admin', now(), NULL, NULL),
       (pg_temp.app(), pg_temp.key(3), 'ck_viewer', sha256('s'), 'desk', 'viewer', NULL, NULL, NULL),
       (pg_temp.app(), pg_temp.key(4), 'ck_old', sha256('s'), 'old', 'admin', NULL, now() - interval '1 s', NULL),
       (pg_temp.app(), pg_temp.key(5), 'ck_narrow', sha256('s'), 'narrow', 'admin', NULL, NULL, '{customers:read}');

-- Holds.
CREATE FUNCTION pg_temp.place(n int, reason text DEFAULT 'lawsuit', until timestamptz DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.answer(service.place_hold(
        pg_temp.app(), pg_temp.attempt('hold.place'), pg_temp.customer(n), reason, until, tags, 'none', 'other', 'past')) $$;
CREATE FUNCTION pg_temp.release(n int, tags text[] DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.answer(service.release_hold(
        pg_temp.app(), pg_temp.attempt('hold.release'), pg_temp.customer(n), tags, 'none', 'other', 'no hold')) $$;

SELECT is(service.is_held(pg_temp.app(), pg_temp.customer(1)), false, 'nothing holds a customer by itself');
SELECT is(pg_temp.place(99), 'NOT_FOUND 404', 'a customer that isn''t there can''t be held');
SELECT is(pg_temp.place(1, tags => '{"\"other\""}'), 'CONFLICT 412', 'nor one that is another than was meant');
SELECT is(pg_temp.place(1, until => clock_timestamp() - interval '1 s'), 'INVALID 400', 'nor for a time that is over');
SELECT is_empty($$ SELECT FROM public.legal_holds $$, 'none of these leaves a hold');
SELECT throws_ok($$ SELECT pg_temp.place(1, '') $$, '23514', NULL, 'a hold has a reason');
SELECT is(pg_temp.place(1, tags => pg_temp.tag(1)), 'SUCCEEDED 200', 'a hold is placed');
SELECT is(service.is_held(pg_temp.app(), pg_temp.customer(1)), true, 'and holds');
SELECT is(service.is_held(pg_temp.other_app(), pg_temp.customer(1)), false, 'not another app''s customer of the same id');
SELECT throws_ok(
    $$ DELETE FROM public.customers WHERE app_id = pg_temp.app() AND id = pg_temp.customer(1) $$,
    -- Version 18 has a SQLSTATE of its own for RESTRICT.
    CASE WHEN current_setting('server_version_num')::int < 180000 THEN '23503' ELSE '23001' END, NULL,
    'its foreign key refuses the deletion');
SELECT is(
    (SELECT service.legal_hold(h)::jsonb - 'placed_at' FROM public.legal_holds AS h),
    jsonb_build_object('customer_id', pg_temp.customer(1), 'reason', 'lawsuit', 'until', NULL, 'placed_by', 'back office'),
    'it tells why, until when, and who placed it');
SELECT is(pg_temp.place(1, 'audit', clock_timestamp() + interval '1 h'), 'SUCCEEDED 200', 'a second takes the place of the first');
SELECT results_eq($$ SELECT reason, until IS NULL FROM public.legal_holds $$, $$ VALUES ('audit', false) $$, 'so that there is one');
SELECT results_eq(
    $$ SELECT a.entry ->> 'reason' FROM service.attempts AS a WHERE a.action = 'hold.place' AND a.outcome = 'SUCCEEDED' ORDER BY a.admitted_at $$,
    $$ VALUES ('lawsuit'), ('audit') $$, 'each reason becomes that of its entry');
UPDATE public.legal_holds SET until = clock_timestamp() - interval '1 s';
SELECT is(service.is_held(pg_temp.app(), pg_temp.customer(1)), false, 'one whose time is over holds no longer');
SELECT is(pg_temp.release(1), 'NOT_FOUND 404', 'and is gone for who would release it');
SELECT is_empty($$ SELECT FROM public.legal_holds $$, 'indeed');
SELECT is(pg_temp.place(2), 'SUCCEEDED 200', 'another hold');
SELECT is(pg_temp.release(2, '{"\"other\""}'), 'CONFLICT 412', 'isn''t released from a customer that is another than was meant');
SELECT is(pg_temp.release(2), 'SUCCEEDED 200', 'but from the one that was');
SELECT is(pg_temp.release(2), 'NOT_FOUND 404', 'once');
SELECT is(pg_temp.release(99), 'NOT_FOUND 404', 'nor from none');

-- Schedules.
CREATE FUNCTION pg_temp.schedule(n int, after interval DEFAULT '1 h', key int DEFAULT 1, reason text DEFAULT 'closed', tags text[] DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.answer(service.schedule_deletion(
        pg_temp.app(), pg_temp.attempt('deletion.schedule', key), pg_temp.customer(n), clock_timestamp() + after, reason, tags,
        'none', 'other', 'past', 'late')) $$;
CREATE FUNCTION pg_temp.cancel(n int, tags text[] DEFAULT NULL) RETURNS service.receipt LANGUAGE sql AS $$
    SELECT service.cancel_deletion(
        pg_temp.app(), pg_temp.attempt('deletion.cancel'), pg_temp.customer(n), tags, 'none', 'other', 'no schedule') $$;
-- As if the time had come.
CREATE FUNCTION pg_temp.let_it_come(n int) RETURNS void LANGUAGE sql AS $$
    UPDATE service.scheduled_deletions SET delete_at = clock_timestamp() - interval '1 s', try_after = clock_timestamp() - interval '1 s'
    WHERE customer_id = pg_temp.customer(n) $$;
CREATE FUNCTION pg_temp.take() RETURNS SETOF service.due_deletion LANGUAGE sql AS $$
    SELECT * FROM service.take_due_deletions(pg_temp.app(), '15 s', '24 h', 10) $$;
CREATE FUNCTION pg_temp.status(n int) RETURNS text LANGUAGE sql AS $$
    SELECT status::text FROM service.scheduled_deletions WHERE app_id = pg_temp.app() AND customer_id = pg_temp.customer(n) $$;

SELECT is(pg_temp.schedule(99), 'NOT_FOUND 404', 'a customer that isn''t there can''t be scheduled');
SELECT is(pg_temp.schedule(3, '-1 s'), 'INVALID 400', 'nor one for a time that is over');
SELECT is(pg_temp.schedule(3, '1 year 1 minute'), 'INVALID 400', 'nor for one more than a year ahead');
SELECT is(pg_temp.schedule(3, tags => '{"\"other\""}'), 'CONFLICT 412', 'nor one that is another than was meant');
SELECT is_empty($$ SELECT FROM service.scheduled_deletions $$, 'none of these leaves a schedule');
SELECT is(pg_temp.answer(pg_temp.cancel(3)), 'NOT_FOUND 404', 'where there is none, none is called off');
SELECT is((pg_temp.cancel(3)).body || ', ' || (pg_temp.cancel(99)).body, 'no schedule, none',
    'and whether the customer is there is told apart');
SELECT is(pg_temp.schedule(3), 'SUCCEEDED 202', 'a deletion is scheduled');
SELECT is(pg_temp.schedule(3, '2 h', reason => NULL), 'SUCCEEDED 202', 'and moved');
SELECT results_eq($$ SELECT delete_at > clock_timestamp() + interval '90 minutes', reason FROM service.scheduled_deletions $$,
    $$ VALUES (true, NULL::text) $$, 'with everything that it is about');
SELECT results_eq(
    $$ SELECT (s.schedule::jsonb ->> 'status'), s.schedule::jsonb #>> '{customer,first_name}' FROM service.find_schedules(
        pg_temp.app(), NULL, NULL, NULL, NULL, NULL, 10) AS s $$,
    $$ VALUES ('SCHEDULED', 'Ada') $$, 'it is found, with its customer');
SELECT is_empty($$ SELECT FROM service.find_schedules(pg_temp.other_app(), NULL, NULL, NULL, NULL, NULL, 10) $$, 'not by another app');
SELECT is_empty($$ SELECT FROM service.find_schedules(pg_temp.app(), NULL, 'DELETED', NULL, NULL, NULL, 10) $$, 'nor under another status');
SELECT is_empty($$ SELECT FROM service.find_schedules(pg_temp.app(), NULL, NULL, clock_timestamp(), NULL, NULL, 10) $$, 'nor before its time');
SELECT is_empty(
    $$ SELECT FROM service.find_schedules(pg_temp.app(), NULL, NULL, NULL, (SELECT delete_at FROM service.scheduled_deletions),
        pg_temp.customer(3), 10) $$, 'nor behind itself');
SELECT is_empty($$ SELECT pg_temp.take() $$, 'before its time it is not taken');
SELECT is((SELECT deletions FROM service.schedule_lag()), 0::bigint, 'nor is it late');
SELECT is(pg_temp.answer(pg_temp.cancel(3, '{"\"other\""}')), 'CONFLICT 412', 'it isn''t called off for another customer than was meant');
SELECT is(pg_temp.answer(pg_temp.cancel(3)), 'SUCCEEDED 200', 'but for the one that was');
SELECT is(pg_temp.answer(pg_temp.cancel(3)), 'NOT_FOUND 404', 'once');

SELECT is(pg_temp.schedule(4), 'SUCCEEDED 202', 'another one');
SELECT pg_temp.let_it_come(4);
SELECT results_eq($$ SELECT service.due_apps() $$, ARRAY [pg_temp.app()], 'when its time has come, its app is called');
SELECT results_eq($$ SELECT deletions, seconds > 0 FROM service.schedule_lag() $$, $$ VALUES (1::bigint, true) $$, 'and the lag tells');
CREATE TEMPORARY TABLE taken AS SELECT * FROM pg_temp.take();
SELECT results_eq($$ SELECT customer_id, fence FROM taken $$, $$ VALUES (pg_temp.customer(4), 1) $$, 'an instance takes it, with an attempt');
SELECT is_empty($$ SELECT pg_temp.take() $$, 'another one doesn''t while the lease lasts');
UPDATE service.scheduled_deletions SET try_after = clock_timestamp() - interval '1 s';
SELECT is_empty($$ SELECT pg_temp.take() $$, 'nor afterwards, while the attempt isn''t settled');
SELECT is((service.deletion_outcome(pg_temp.app(), attempt_id)).outcome, NULL, 'which has no outcome yet') FROM taken;
SELECT is((SELECT (service.end_scheduled_deletion(pg_temp.app(), customer_id, attempt_id)).status::text FROM taken), 'SCHEDULED',
    'so that it isn''t ended');
SELECT pg_temp.end_attempt(attempt_id, 'FAILED') FROM taken;
SELECT is((SELECT (service.end_scheduled_deletion(pg_temp.app(), customer_id, attempt_id)).tries FROM taken), 1, 'after a failure it is tried again');
SELECT is_empty($$ SELECT pg_temp.take() $$, 'after a pause');
SELECT pg_temp.let_it_come(4);
CREATE TEMPORARY TABLE again AS SELECT * FROM pg_temp.take();
SELECT isnt((SELECT attempt_id FROM again), (SELECT attempt_id FROM taken), 'with another attempt');
SELECT pg_temp.end_attempt(attempt_id, 'SUCCEEDED') FROM again;
SELECT is((SELECT (service.end_scheduled_deletion(pg_temp.app(), customer_id, attempt_id)).status::text FROM taken), 'SCHEDULED',
    'an attempt that it no longer points to doesn''t end it');
SELECT is((SELECT (service.end_scheduled_deletion(pg_temp.app(), customer_id, attempt_id)).status::text FROM again), 'DELETED',
    'the outcome of the one that it does point to is its own');
SELECT is((SELECT (service.end_scheduled_deletion(pg_temp.app(), customer_id, attempt_id)).status::text FROM again), 'DELETED', 'again and again');
SELECT is(pg_temp.answer(pg_temp.cancel(4)), 'NOT_FOUND 404', 'what has ended isn''t called off');

SELECT is(pg_temp.schedule(5), 'SUCCEEDED 202', 'one that is running');
SELECT pg_temp.let_it_come(5);
CREATE TEMPORARY TABLE running AS SELECT * FROM pg_temp.take();
SELECT is(pg_temp.answer(pg_temp.cancel(5)), 'SUCCEEDED 200', 'is called off');
SELECT throws_ok(
    $$ SELECT service.enter(pg_temp.app(), attempt_id, fence, 5000) FROM running $$, 'CD001', NULL, 'and can''t commit any more');
SELECT is(pg_temp.schedule(n, key => k), 'SUCCEEDED 202', 'scheduled by ' || who)
FROM (VALUES (6, 2, 'a key that is revoked by then'), (7, 3, 'one that may not delete'), (8, 4, 'one that has expired'),
             (9, 5, 'one with narrower permissions')) AS v (n, k, who);
SELECT pg_temp.let_it_come(n) FROM generate_series(6, 9) AS n;
SELECT is_empty($$ SELECT pg_temp.take() $$, 'none of these runs');
SELECT is((SELECT string_agg(DISTINCT pg_temp.status(n), ',') FROM generate_series(6, 9) AS n), 'FORBIDDEN', 'they end as forbidden');

-- Large bulks.
CREATE FUNCTION pg_temp.bulk(customers int[], dry_run boolean DEFAULT false, key int DEFAULT 1) RETURNS uuid LANGUAGE sql AS $$
    SELECT ((service.create_bulk(pg_temp.app(), pg_temp.attempt('bulk.create', key),
        (SELECT array_agg(pg_temp.customer(n) ORDER BY o) FROM unnest(customers) WITH ORDINALITY AS u (n, o)), dry_run, 'closed')
        ).body::jsonb ->> 'id')::uuid $$;
CREATE FUNCTION pg_temp.take_items(most int DEFAULT 10) RETURNS SETOF service.due_item LANGUAGE sql AS $$
    SELECT * FROM service.take_bulk_items(pg_temp.app(), '15 s', '24 h', most) $$;
CREATE FUNCTION pg_temp.state(bulk uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', s ->> 'status', s ->> 'total', s ->> 'deleted', s ->> 'refused', s ->> 'not_found', s ->> 'failed')
    FROM (SELECT service.bulk_state(pg_temp.app(), bulk)::jsonb) AS b (s) $$;

CREATE TEMPORARY TABLE bulk AS SELECT pg_temp.bulk('{12,11,99}') AS id;
SELECT is(pg_temp.state(id), 'RUNNING 3 0 0 0 0', 'a bulk deletion begins with nothing done') FROM bulk;
SELECT is(service.bulk_state(pg_temp.other_app(), id), NULL, 'and is its app''s alone') FROM bulk;
SELECT results_eq($$ SELECT service.bulk_apps() $$, ARRAY [pg_temp.app()], 'its app is called');
SELECT results_eq($$ SELECT bulks, seconds >= 0 FROM service.bulk_lag() $$, $$ VALUES (1::bigint, true) $$, 'and the lag tells');
CREATE TEMPORARY TABLE items AS SELECT * FROM pg_temp.take_items(2);
SELECT is((SELECT seconds FROM service.bulk_lag()), 0::double precision, 'one that is worked on waits for nobody');
SELECT results_eq($$ SELECT "position", customer_id, fence FROM items ORDER BY 1 $$,
    $$ VALUES (1, pg_temp.customer(12), 1), (2, pg_temp.customer(11), 1) $$, 'items are taken in the order asked, as many as one may');
SELECT is_empty($$ SELECT pg_temp.take_items() $$, 'by one instance at a time');
SELECT pg_temp.end_attempt(attempt_id, 'SUCCEEDED') FROM items WHERE "position" = 1;
SELECT pg_temp.end_attempt(attempt_id, 'FAILED') FROM items WHERE "position" = 2;
UPDATE service.attempts AS a SET status_code = 503 FROM items AS i WHERE a.attempt_id = i.attempt_id AND i."position" = 2;
SELECT service.end_bulk_items(pg_temp.app(), id, '{}', '{}', '0') FROM bulk;
SELECT is(pg_temp.state(id), 'RUNNING 3 1 0 0 0', 'what came of their attempts is settled') FROM bulk;
CREATE TEMPORARY TABLE further AS SELECT * FROM pg_temp.take_items();
SELECT results_eq($$ SELECT "position" FROM further ORDER BY 1 $$, ARRAY [2, 3], 'one whose attempt had no effect is done again, no other');
SELECT pg_temp.end_attempt(attempt_id, CASE "position" WHEN 2 THEN 'REFUSED' ELSE 'NOT_FOUND' END)
FROM further;
SELECT service.end_bulk_items(pg_temp.app(), id, '{1}', '{NOT_FOUND}', '0') FROM bulk;
SELECT is(pg_temp.state(id), 'DONE 3 1 1 1 0', 'what has an attempt isn''t settled by what its taker says, and with the last one it is done') FROM bulk;
SELECT is_empty($$ SELECT pg_temp.take_items() $$, 'then nothing is left');
SELECT is(pg_temp.state(id), 'DONE 3 1 1 1 0', 'nor changed') FROM bulk;
SELECT is((SELECT string_agg(l::jsonb ->> 'statusCode', ' ' ORDER BY o) FROM bulk,
    string_to_table(rtrim(service.bulk_results(pg_temp.app(), id,
        '{"SUCCEEDED": "\"statusCode\":200", "REFUSED": "\"statusCode\":400", "NOT_FOUND": "\"statusCode\":404"}'), E'\n'), E'\n') WITH ORDINALITY AS t (l, o)),
    '200 400 404', 'the results are in the order asked');
SELECT is(pg_temp.answer(service.cancel_bulk(pg_temp.app(), pg_temp.attempt('bulk.cancel'), gen_random_uuid(), 'none')), 'NOT_FOUND 404',
    'one that isn''t there can''t be stopped');
SELECT is(pg_temp.answer(service.cancel_bulk(pg_temp.app(), pg_temp.attempt('bulk.cancel'), id, 'none')), 'SUCCEEDED 200', 'one that is done') FROM bulk;
SELECT is(pg_temp.state(id), 'DONE 3 1 1 1 0', 'stays done') FROM bulk;

SELECT is((SELECT bulks FROM service.bulk_lag()), 0::bigint, 'and is no longer waited for') FROM bulk;

CREATE TEMPORARY TABLE dry AS SELECT pg_temp.bulk('{14,15}', true) AS id;
SELECT results_eq(
    $$ SELECT f.bulk_id, f.bulk::jsonb ->> 'status', f.bulk::jsonb ->> 'dry_run', f.bulk::jsonb ->> 'created_by' IS NOT NULL
       FROM service.find_bulks(pg_temp.app(), NULL, NULL, NULL, 10) AS f $$,
    $$ SELECT id, 'RUNNING', 'true', true FROM dry UNION ALL SELECT id, 'DONE', 'false', true FROM bulk $$, 'runs are listed, the newest first');
SELECT is_empty($$ SELECT FROM service.find_bulks(pg_temp.other_app(), NULL, NULL, NULL, 10) $$, 'not by another app');
SELECT results_eq($$ SELECT bulk_id FROM service.find_bulks(pg_temp.app(), 'DONE', NULL, NULL, 10) $$, $$ SELECT id FROM bulk $$, 'by their status');
SELECT results_eq(
    $$ SELECT f.bulk_id FROM service.bulk_deletions AS b JOIN dry AS d ON d.id = b.bulk_id,
       service.find_bulks(b.app_id, NULL, b.created_at, b.bulk_id, 10) AS f $$, $$ SELECT id FROM bulk $$, 'and on from where a page ended');
SELECT results_eq($$ SELECT "position", attempt_id FROM pg_temp.take_items() ORDER BY 1 $$, $$ VALUES (1, NULL::uuid), (2, NULL) $$,
    'a dry run opens no attempt');
SELECT service.end_bulk_items(pg_temp.app(), id, '{1,2}', '{SUCCEEDED,REFUSED}', '0') FROM dry;
SELECT service.end_bulk_items(pg_temp.app(), id, '{1,2}', '{NOT_FOUND,NOT_FOUND}', '0') FROM dry;
SELECT is(pg_temp.state(id), 'DONE 2 1 1 0 0', 'what was found first stays') FROM dry;
SELECT pg_temp.take_items();
CREATE TEMPORARY TABLE stopped AS SELECT pg_temp.bulk('{16,17}') AS id;
SELECT count(*) FROM pg_temp.take_items(1);
SELECT service.cancel_bulk(pg_temp.app(), pg_temp.attempt('bulk.cancel'), id, 'none') FROM stopped;
SELECT service.end_bulk_items(pg_temp.app(), id, '{}', '{}', '0') FROM stopped;
SELECT is_empty($$ SELECT pg_temp.take_items() $$, 'one that is stopped begins nothing more');
SELECT results_eq($$ SELECT b.status::text, b.is_over FROM service.bulk_deletions AS b JOIN stopped AS s ON s.id = b.bulk_id $$,
    $$ VALUES ('CANCELLED', false) $$, 'but waits for the item that is under way');
CREATE TEMPORARY TABLE forbidden AS SELECT pg_temp.bulk('{18}', key => 2) AS id;
SELECT is_empty($$ SELECT pg_temp.take_items() $$, 'a key that may no longer delete deletes nothing');
SELECT is(pg_temp.state(id), 'DONE 1 0 0 0 1', 'each of its items is forbidden') FROM forbidden;
CREATE TEMPORARY TABLE many AS SELECT pg_temp.bulk(ARRAY(SELECT generate_series(1, 20)), key => 2) AS id;
SELECT count(*) FROM pg_temp.take_items(3);
SELECT is(pg_temp.state(id), 'RUNNING 20 0 0 0 12', 'as many at a time as are deleted in a second') FROM many;
SELECT count(*) FROM pg_temp.take_items(3);
SELECT is(pg_temp.state(id), 'DONE 20 0 0 0 20', 'without a pause') FROM many;
CREATE TEMPORARY TABLE behind AS SELECT pg_temp.bulk('{18}', key => 2) AS first, pg_temp.bulk('{19}') AS second;
SELECT results_eq($$ SELECT bulk_id FROM pg_temp.take_items() $$, $$ SELECT second FROM behind $$, 'the one behind it needn''t wait');

-- Retention.
CREATE FUNCTION pg_temp.append(app uuid) RETURNS void LANGUAGE sql AS $$
    SELECT count(a.seq)
    FROM service.append(app, (
        SELECT jsonb_agg(jsonb_build_object(
            'id', gen_random_uuid(), 'occurred_at', clock_timestamp() - n * interval '1 day', 'action', 'customer.update',
            'outcome', 'SUCCEEDED', 'ip', '192.0.2.1', 'user_agent', 'curl', 'actor_claimed', 'Ada',
            'request', '{"method": "PATCH", "headers": {"accept": "*/*"}}'::jsonb) ORDER BY n DESC)
        FROM generate_series(1, 5) AS n)) AS a $$;
CREATE FUNCTION pg_temp.with_context() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM audit.entries WHERE app_id = pg_temp.other_app()
      AND (ip IS NOT NULL OR user_agent IS NOT NULL OR actor_claimed IS NOT NULL OR request ? 'headers' OR context_salt IS NOT NULL)
      AND action <> 'trail.retention' $$;

SELECT pg_temp.append(pg_temp.other_app());
SELECT ok(pg_temp.other_app() IN (SELECT service.retention_apps()), 'a chain is looked after from its first entry on');
SELECT is(service.retain(pg_temp.other_app(), 30, 10), false, 'entries that are young enough keep their context');
SELECT is(service.retain(pg_temp.other_app(), 2, 2), true, 'the others lose it: this is declared first');
SELECT is(pg_temp.with_context(), 5::bigint, 'before anything is erased');
SELECT results_eq(
    $$ SELECT (request ->> 'up_to')::int FROM audit.entries WHERE app_id = pg_temp.other_app() AND action = 'trail.retention' $$,
    ARRAY [4], 'up to which entry');
SELECT is(service.retain(pg_temp.other_app(), 2, 2), true, 'then in batches');
SELECT is(pg_temp.with_context(), 3::bigint, 'as large as one may be');
SELECT is(service.retain(pg_temp.other_app(), 2, 2), true, 'until all is done');
SELECT is(pg_temp.with_context(), 1::bigint, 'the young one keeps its own');
SELECT is(service.retain(pg_temp.other_app(), 2, 2), false, 'then there is nothing to do, and the declaration itself is no reason');
SELECT is(count(*), 0::bigint, 'every entry still carries the right hash')
FROM audit.entries AS e WHERE e.app_id = pg_temp.other_app() AND e.hash <> audit.hash(e);
SELECT throws_ok(
    $$ UPDATE audit.entries SET ip = NULL, user_agent = NULL, actor_claimed = NULL, request = request - 'headers', context_salt = NULL
       WHERE app_id = pg_temp.other_app() AND seq = 5 $$, '42501', NULL, 'what isn''t declared can''t be erased');

SELECT finish();
ROLLBACK;
