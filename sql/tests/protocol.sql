-- The protocol's functions by themselves: fences, receipts, take-overs, recovery, purge.
BEGIN;
SELECT plan(48);

CREATE FUNCTION pg_temp.app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-000000000001'::uuid $$;
CREATE FUNCTION pg_temp.attempt(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT format('aaaaaaaa-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.admit(n int, key int, fingerprint bytea DEFAULT '\x01', lease interval DEFAULT '15 s', secret text DEFAULT 's', permissions text[] DEFAULT '{customers:delete}')
RETURNS TABLE (verdict text, fence int, outcome text, body text, has_entry boolean) LANGUAGE sql AS $$
    SELECT coalesce((a.opened).opening::text, (a.admission).verdict::text), (a.opened).fence,
           ((a.opened).receipt).outcome::text, ((a.opened).receipt).body, (a.opened).has_entry
    FROM service.admit(
        'ck_test', sha256(convert_to(secret, 'UTF8')), permissions, 1, 1000, '60 s', true,
        pg_temp.attempt(n), 'customer.delete', pg_temp.attempt(500), pg_temp.attempt(1000 + key), fingerprint, lease,
        '24 h', jsonb_build_object('reason', 'because', 'request', '{"method": "DELETE"}'::jsonb),
        '192.0.2.1') AS a $$;
CREATE FUNCTION pg_temp.append(n int) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT a.outcome::text
    FROM service.append(pg_temp.app(), jsonb_build_array(jsonb_build_object(
        'id', pg_temp.attempt(n), 'is_attempt', true))) AS a $$;

INSERT INTO service.api_keys (app_id, client_key, secret_digest, name, role)
VALUES (pg_temp.app(), 'ck_test', sha256('s'), 'test', 'admin');

-- Admission and the entrance of idempotency.
SELECT is((SELECT verdict FROM pg_temp.admit(1, 1, secret => 'wrong')), 'UNAUTHENTICATED', 'a wrong secret is refused');
SELECT is((SELECT verdict FROM pg_temp.admit(1, 1, permissions => '{}')), 'FORBIDDEN', 'an empty list of permissions permits nothing');
SELECT ok(NOT service.permits(role, '{}'), role || ' isn''t permitted an empty list') FROM unnest('{viewer,editor,admin,auditor,none}'::text[]) AS role;
SELECT is((SELECT verdict FROM pg_temp.admit(1, 1, permissions => '{any,switched-off}')), 'FORBIDDEN', 'what is switched off is not permitted');
SELECT is(
    (SELECT service.describe_key(pg_temp.app(), k.id, '{customers:restore}')::jsonb -> 'permissions'
     FROM service.api_keys AS k WHERE k.client_key = 'ck_test'),
    '["customers:read","customers:write","customers:delete","audit:read","webhooks:manage"]', 'a key is told what it may do');
SELECT is((SELECT verdict FROM pg_temp.admit(1, 1)), 'RUN', 'the first request under a key runs');
SELECT is((SELECT verdict FROM pg_temp.admit(2, 1)), 'RUNNING', 'the second learns that the first is still running');
SELECT is((SELECT verdict FROM pg_temp.admit(3, 1, '\x02')), 'MISMATCH', 'another request is refused before that');
SELECT is((SELECT verdict FROM pg_temp.admit(1, 1)), 'RUN', 'an admission whose answer was lost may be repeated');

-- The unit of work.
SELECT lives_ok($$ SELECT service.enter(pg_temp.app(), pg_temp.attempt(1), 1, 5000) $$, 'enter finds the attempt under its fence');
SELECT is(current_setting('synchronous_commit'), 'on', 'enter makes the commit durable, whatever the default');
SELECT throws_ok($$ SELECT service.enter(pg_temp.app(), pg_temp.attempt(1), 2, 5000) $$, 'CD001', NULL, 'enter raises under another fence');
SELECT lives_ok(
    $$ SELECT service.finish(pg_temp.app(), pg_temp.attempt(1), 'SUCCEEDED', '{"id":"x"}', '{"id":"x"}') $$,
    'finish leaves the receipt');
SELECT is(pg_stat_get_xact_tuples_hot_updated('service.attempts'::regclass), 1::bigint,
    'which touches no index, so that finished attempts don''t swell all of them');
SELECT throws_ok(
    $$ SELECT service.finish(pg_temp.app(), pg_temp.attempt(1), 'NOT_FOUND', '{}') $$, 'CD002', NULL,
    'an attempt finishes once');
SELECT throws_ok($$ SELECT service.enter(pg_temp.app(), pg_temp.attempt(1), 1, 5000) $$, 'CD001', NULL, 'enter raises once it is finished');
SELECT results_eq(
    $$ SELECT service.outcome_of(e)::text, string_agg(service.status_code(e)::text, ' ' ORDER BY e)
       FROM unnest(enum_range(NULL::service.ending)) AS e GROUP BY 1 ORDER BY 1 $$,
    $$ VALUES ('CONFLICT', '409 412'), ('FAILED', '500'), ('FORBIDDEN', '403'), ('INVALID', '400'), ('NOT_FOUND', '404'),
              ('RATE_LIMITED', '429'), ('REFUSED', '400'), ('SUCCEEDED', '200 201 202 204'), ('UNAUTHENTICATED', '401') $$,
    'each ending has its outcome and its status');
SELECT row_eq(
    $$ SELECT verdict, outcome, body, has_entry FROM pg_temp.admit(4, 1) $$,
    ROW ('REPLAY'::text, 'SUCCEEDED'::text, '{"id":"x"}'::text, false), 'a receipt answers at once, entry or no entry');

-- Settling a doubt.
SELECT is((SELECT settling FROM service.settle(pg_temp.app(), pg_temp.attempt(1), 1, 100)), 'FINISHED', 'settle finds the receipt');
SELECT is((SELECT verdict FROM pg_temp.admit(5, 5)), 'RUN', 'another attempt runs');
SELECT row_eq(
    $$ SELECT settling::text, fence FROM service.settle(pg_temp.app(), pg_temp.attempt(5), 1, 100) $$,
    ROW ('OPEN'::text, 2), 'without a receipt settle raises the fence');
SELECT throws_ok($$ SELECT service.enter(pg_temp.app(), pg_temp.attempt(5), 1, 5000) $$, 'CD001', NULL, 'so the stalled one can never commit');
SELECT is((SELECT settling FROM service.settle(pg_temp.app(), pg_temp.attempt(5), 1, 100)), 'LOST', 'nor settle again under the old fence');

-- The appender.
SELECT is(pg_temp.append(1), 'SUCCEEDED', 'the entry is written from the receipt');
SELECT is(pg_temp.append(1), 'SUCCEEDED', 'appending twice only reports it');
SELECT is(count(*), 1::bigint, 'and writes it once') FROM audit.entries WHERE id = pg_temp.attempt(1);
SELECT results_eq($$ SELECT pg_temp.append(5) $$, ARRAY [NULL::text], 'an attempt without outcome isn''t appended');
SELECT results_eq(
    $$ SELECT a.outcome::text FROM service.append_each(pg_temp.app(), jsonb_build_array(
           jsonb_build_object('id', pg_temp.attempt(20), 'occurred_at', now(),
                              'action', 'customer.delete', 'outcome', 'FORBIDDEN', 'status_code', 403, 'ip', 'poison'),
           jsonb_build_object('id', pg_temp.attempt(21), 'occurred_at', now(),
                              'action', 'customer.delete', 'outcome', 'INVALID', 'status_code', 400, 'ip', '192.0.2.1'))) AS a $$,
    ARRAY ['FORBIDDEN', 'INVALID'], 'a poisoned entry doesn''t fail the others, and is written in a minimal form');
SELECT results_eq(
    $$ SELECT seq FROM audit.entries WHERE app_id = pg_temp.app() ORDER BY seq $$, ARRAY [1, 2, 3]::bigint[],
    'seq has no gap');
SELECT is(count(*), 0::bigint, 'every entry carries the right hash')
FROM audit.entries AS e WHERE e.hash <> audit.hash(e);

-- Recovery and purge.
SELECT is((SELECT verdict FROM pg_temp.admit(6, 6, lease => '-1 s')), 'RUN', 'an attempt whose lease is over');
SELECT is((SELECT verdict FROM pg_temp.admit(7, 6)), 'RUN', 'is taken over by a retry');
SELECT row_eq($$ SELECT outcome::text, is_current FROM service.attempts WHERE attempt_id = pg_temp.attempt(6) $$,
    ROW ('INTERRUPTED'::text, false), 'and is interrupted');
UPDATE service.attempts SET finished_at = finished_at - interval '1 year', expires_at = expires_at - interval '1 year'
WHERE outcome IS NOT NULL;
SELECT is(service.purge(100), 1::bigint, 'purge forgets the recorded attempt, not the one without an entry');
SELECT row_eq($$ SELECT completed, interrupted FROM service.recover(pg_temp.app(), 100) $$, ROW (1, 0), 'recovery writes the missing entry');
SELECT row_eq(
    $$ SELECT outcome, status_code FROM audit.entries WHERE id = pg_temp.attempt(6) $$, ROW ('INTERRUPTED'::text, NULL::int),
    'an interrupted attempt has no status');

-- Every instance does both each second, with a day's answers in the table.
INSERT INTO service.attempts
    (app_id, attempt_id, key_id, action, admitted_at, fingerprint, fingerprint_salt, entry, lease_expires_at, ttl,
     outcome, finished_at, expires_at, entry_seq)
SELECT pg_temp.app(), pg_temp.attempt(100000 + n), gen_random_uuid(), 'customer.delete', now(), '\x01', '\x02', '{}',
       now(), '1 day', 'SUCCEEDED', now(), now() + interval '1 day', 100000 + n
FROM generate_series(1, 1000) AS n;
ANALYZE service.attempts;  -- As autovacuum does; plans kept from when the table was tiny are made anew.
CREATE FUNCTION pg_temp.attempts_read() RETURNS bigint LANGUAGE sql AS $$
    SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = 'service.attempts'::regclass
$$;
CREATE TEMPORARY TABLE before AS SELECT pg_temp.attempts_read() AS attempts;
SELECT service.purge(100), service.recover(pg_temp.app(), 100), service.audit_lag();
SELECT cmp_ok(pg_temp.attempts_read() - (SELECT attempts FROM before), '<', 100::bigint,
    'recovery and purge read only the attempts that they are about');


-- A receipt whose time is over, but which isn't in the trail yet.
SELECT is((SELECT verdict FROM pg_temp.admit(10, 10)), 'RUN', 'one more attempt');
SELECT service.finish(pg_temp.app(), pg_temp.attempt(10), 'SUCCEEDED', '{"id":"y"}', '{"id":"y"}');
UPDATE service.attempts SET finished_at = finished_at - interval '1 year' WHERE attempt_id = pg_temp.attempt(10);
SELECT service.purge(100);
SELECT row_eq(
    $$ SELECT verdict, body, has_entry FROM pg_temp.admit(11, 10) $$, ROW ('REPLAY'::text, '{"id":"y"}'::text, false),
    'isn''t forgotten, and still answers for its key');
SELECT is(pg_temp.append(10), 'SUCCEEDED', 'once it has its entry');
SELECT is((SELECT verdict FROM pg_temp.admit(11, 10)), 'RUN', 'the key is free');

-- What an instance gives up.
SELECT is((SELECT verdict FROM pg_temp.admit(12, 12)), 'RUN', 'an attempt that is given up');
SELECT results_eq(
    $$ SELECT service.release(ARRAY [pg_temp.attempt(12), pg_temp.attempt(6), pg_temp.attempt(99)]) $$,
    ARRAY [pg_temp.attempt(12)], 'is released, and nothing that is done or never was');
SELECT is((SELECT verdict FROM pg_temp.admit(13, 12)), 'RUN', 'and a retry doesn''t wait for its lease');

SELECT finish();
ROLLBACK;
