-- Floor (a): the service's statements one by one, with the same two synchronous commits (and the asynchronous one).
\set i :i + 1
\set n :base + :client_id * 1000000 + :i
SELECT a.verdict FROM service.admit(
    :key, decode(:digest, 'hex'), :permissions, 1, 1000000000, '60 s', true, bench.id('bee00000', :n),
    bench.id('bed00000', :n), sha256(uuid_send(bench.id('bec00000', :n))), '15 s', '1 day',
    bench.entry(bench.id('bee00000', :n), bench.id('bec00000', :n), bench.id('bed00000', :n)), '127.0.0.1') AS a;
BEGIN;
SELECT service.hold(:app, bench.id('bee00000', :n), 1, 5000);
SELECT service.record(c)
FROM public.customers AS c
WHERE c.app_id = :app AND c.id = bench.id('bec00000', :n)
FOR UPDATE;
WITH deleted AS (
    DELETE FROM public.customers AS c
    WHERE c.app_id = :app AND c.id = bench.id('bec00000', :n)
    RETURNING service.record(c) AS record)
SELECT record,
       CASE
           WHEN record IS NULL THEN service.finish(:app, bench.id('bee00000', :n), 'NOT_FOUND', 404, '{}', NULL)
           ELSE service.finish(:app, bench.id('bee00000', :n), 'SUCCEEDED', 200, record, record)
       END
FROM (SELECT (SELECT record FROM deleted) AS record) AS outcome;
COMMIT;
SELECT id, outcome FROM service.append(
    jsonb_build_array(jsonb_build_object(
        'id', bench.id('bee00000', :n), 'app_id', :app::uuid, 'is_attempt', true, 'fence', 1)));
