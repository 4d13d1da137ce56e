-- Tables without statistics: what is filled in one transaction, has never been analyzed, or was empty when it was, is taken
-- for a few rows by the planner. A plan that joins it with itself then reads its rows once for each of its rows. No step of the background work
-- may read more than some times the rows that there are. Autovacuum sees nothing of this transaction.
BEGIN;
SELECT plan(37);

CREATE FUNCTION pg_temp.app() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'aaaaaaaa-0000-4000-8000-00000000000c'::uuid $$;
CREATE FUNCTION pg_temp.rows() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 4000 $$;
CREATE FUNCTION pg_temp.id(kind text, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5(kind || n)::uuid $$;

-- Rows of tables and entries of indexes that this transaction has read.
CREATE FUNCTION pg_temp.reads() RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT sum(pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid))
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'audit', 'service') AND c.relkind IN ('r', 'i') $$;
-- Seven times: a plan that is kept from the sixth on counts too.
CREATE FUNCTION pg_temp.most_reads(step text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    before numeric;
    most   numeric := 0;
BEGIN
    FOR i IN 1..7 LOOP
        before := pg_temp.reads();
        EXECUTE 'SELECT count(*) FROM (SELECT ' || step || ') AS s';
        most := greatest(most, pg_temp.reads() - before);
    END LOOP;
    RETURN most;
END $$;
CREATE FUNCTION pg_temp.few(step text, tables text) RETURNS text LANGUAGE sql AS $$
    SELECT cmp_ok(
        pg_temp.most_reads(step), '<', 20.0 * pg_temp.rows(),
        split_part(trim(step), '(', 1) || ' reads few rows of tables that are ' || tables) $$;

INSERT INTO service.api_keys (app_id, id, client_key, secret_digest, name, role)
VALUES (pg_temp.app(), pg_temp.id('key', 1), 'ck_statistics', sha256('s'), 'back office', 'admin');
INSERT INTO public.customers (app_id, id, first_name, last_name, phone_number)
SELECT pg_temp.app(), pg_temp.id('customer', n), 'Ada', 'Lovelace', '+1' FROM generate_series(1, pg_temp.rows()) AS n;
INSERT INTO public.invoices (app_id, customer_id) SELECT c.app_id, c.id FROM public.customers AS c WHERE c.app_id = pg_temp.app();
-- Answers whose time is over, half of them of one customer; then attempts of an instance that died.
INSERT INTO service.attempts
    (app_id, attempt_id, key_id, action, customer_id, admitted_at, entry, lease_expires_at, ttl, outcome, status_code, body,
     finished_at, expires_at, entry_seq)
SELECT pg_temp.app(), pg_temp.id('answer', n), pg_temp.id('key', 1), 'customer.delete', pg_temp.id('customer', n * (n % 2) + 1),
       now() - interval '2 days', '{}', now() - interval '2 days', '1 day', 'REFUSED', 400, '{}', now() - interval '2 days',
       now() - interval '1 day', n
FROM generate_series(1, pg_temp.rows()) AS n;
INSERT INTO service.attempts (app_id, attempt_id, key_id, action, customer_id, admitted_at, entry, lease_expires_at, ttl)
SELECT pg_temp.app(), pg_temp.id('running', n), pg_temp.id('key', 1), 'customer.delete', pg_temp.id('customer', n),
       now() - interval '1 h', '{}', now() - interval '1 h', '1 day'
FROM generate_series(1, pg_temp.rows()) AS n;
SELECT lives_ok(
    $$ SELECT service.append(pg_temp.app(), jsonb_agg(jsonb_build_object(
           'id', pg_temp.id('entry', n), 'occurred_at', now() - interval '40 days', 'action', 'customer.delete',
           'customer_id', pg_temp.id('customer', n * (n % 2) + 1), 'outcome', 'SUCCEEDED', 'reason', 'r', 'ip', '192.0.2.1')))
       FROM generate_series(1, pg_temp.rows()) AS n $$,
    'a chain');
SELECT service.append(pg_temp.app(), jsonb_build_array(jsonb_build_object(
    'id', pg_temp.id('redaction', 1), 'action', 'customer.redact', 'customer_id', pg_temp.id('customer', 1),
    'outcome', 'SUCCEEDED')));
INSERT INTO service.redactions (app_id, customer_id, attempt_id, redacted_at, record, entry_seq, is_erased)
SELECT pg_temp.app(), pg_temp.id('customer', n), pg_temp.id('redaction', n), now(), '{}', pg_temp.rows() + 1, n > 1
FROM generate_series(1, pg_temp.rows()) AS n;
INSERT INTO service.floods (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
SELECT pg_temp.app(), 'RATE_LIMITED', 's' || n, now() - interval '1 h', now() - interval '1 h', 1, 0, '{"request": {}}'
FROM generate_series(1, pg_temp.rows()) AS n;
INSERT INTO service.scheduled_deletions (app_id, customer_id, delete_at, try_after, key_id, scheduled_by)
SELECT pg_temp.app(), pg_temp.id('customer', n), now() - interval '1 h', now() - interval '1 h', pg_temp.id('key', 1),
       pg_temp.id('schedule', n)
FROM generate_series(1, pg_temp.rows()) AS n;
INSERT INTO service.bulk_deletions (app_id, bulk_id, dry_run, key_id, created_at, try_after, total)
VALUES (pg_temp.app(), pg_temp.id('bulk', 1), false, pg_temp.id('key', 1), now(), now(), pg_temp.rows()),
       (pg_temp.app(), pg_temp.id('bulk', 2), true, pg_temp.id('key', 1), now(), now(), pg_temp.rows());
INSERT INTO service.bulk_items (app_id, bulk_id, "position", customer_id)
SELECT pg_temp.app(), pg_temp.id('bulk', b), n, pg_temp.id('customer', n)
FROM generate_series(1, 2) AS b, generate_series(1, pg_temp.rows()) AS n;
INSERT INTO service.webhooks (app_id, id, url, secret, after_seq)
SELECT pg_temp.app(), pg_temp.id('webhook', n), 'https://example.com', '\x00', 0 FROM generate_series(1, pg_temp.rows()) AS n;
INSERT INTO service.webhook_deliveries (app_id, webhook_id, slot, number, seq, event_id, type, attempt, duration_ms, at)
SELECT pg_temp.app(), pg_temp.id('webhook', 1), n % 1000, n, n, pg_temp.id('entry', n), 'customer.delete', 1, 1, now()
FROM generate_series(1, least(pg_temp.rows(), 1000)) AS n;

CREATE TEMPORARY TABLE steps ON COMMIT DROP AS
SELECT s.step, s.place
FROM unnest(ARRAY[
    $$ service.take_bulk_items(pg_temp.app(), '15 s', '1 day', 20) $$,
    $$ service.end_bulk_items(pg_temp.app(), pg_temp.id('bulk', 1), '{}', '{}', '0 s') $$,
    $$ service.end_bulk_items(pg_temp.app(), pg_temp.id('bulk', 2), '{1,2}', '{REFUSED,REFUSED}', '0 s') $$,
    $$ service.bulk_apps() $$,
    $$ service.bulk_results(pg_temp.app(), pg_temp.id('bulk', 1), '{}') $$,
    $$ service.due_apps() $$,
    $$ service.find_schedules(pg_temp.app(), NULL, NULL, NULL, NULL, NULL, 100) $$,
    $$ service.take_due_deletions(pg_temp.app(), '15 s', '1 day', 20) $$,
    $$ service.overdue() $$,
    $$ service.recover(pg_temp.app(), 50) $$,
    $$ service.release(ARRAY(SELECT pg_temp.id('running', n) FROM generate_series(1, 50) AS n)) $$,
    $$ service.purge(100) $$,
    $$ service.erase_next(pg_temp.app(), 100) $$,
    $$ service.retain(pg_temp.app(), 30, 100) $$,
    $$ service.claim_webhooks(gen_random_uuid(), 100, 50, '25 s') $$,
    $$ service.webhook_lag() $$,
    $$ service.note_deliveries(pg_temp.app(), pg_temp.id('webhook', 1), (
        SELECT jsonb_agg(jsonb_build_object(
        'seq', n, 'id', pg_temp.id('entry', n), 'type', 'customer.delete', 'attempt', 1, 'duration_ms', 1, 'ago_ms', 1))
        FROM generate_series(1, 100) AS n)) $$,
    $$ service.list_webhooks(pg_temp.app()) $$]) WITH ORDINALITY AS s (step, place);

SAVEPOINT filled;
SELECT pg_temp.few(s.step, 'never analyzed') FROM steps AS s ORDER BY s.place;
ROLLBACK TO filled;
-- As after a purge of all rows that left the pages: there are no rows on a page, as far as the planner knows. A trail is
-- never emptied.
UPDATE pg_class AS c
SET reltuples = 0, relpages = 100
FROM pg_namespace AS n
WHERE n.oid = c.relnamespace AND n.nspname IN ('public', 'service') AND c.relkind IN ('r', 'i');
SELECT pg_temp.few(s.step, 'known to be empty') FROM steps AS s ORDER BY s.place;

SELECT * FROM finish();
ROLLBACK;
