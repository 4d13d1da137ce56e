-- Floor (a): the service's statements one by one, with the same two synchronous commits (and the asynchronous one).
\set i :i + 1
\set n :base + :client_id * 1000000 + :i
SELECT (a.admission).verdict FROM service.admit(
    :key, decode(:digest, 'hex'), :permissions, 1, 1000000000, '60 s', true, bench.id('bee00000', :n), 'customer.delete',
    bench.id('bec00000', :n), bench.id('bed00000', :n), sha256(uuid_send(bench.id('bec00000', :n))), '15 s', '1 day',
    bench.context(bench.id('bec00000', :n)), '127.0.0.1') AS a;
BEGIN;
SELECT service.enter(:app, bench.id('bee00000', :n), 1, 5000);
SELECT service.image(c)
FROM public.customers AS c
WHERE c.app_id = :app AND c.id = bench.id('bec00000', :n)
FOR UPDATE;
WITH cascading AS MATERIALIZED (
    SELECT service.cascading(:app, bench.id('bec00000', :n)) AS request),
deleted AS (
    DELETE FROM public.customers AS c
    USING cascading
    WHERE c.app_id = :app AND c.id = bench.id('bec00000', :n)
    RETURNING service.record(c) AS record, service.image(c) AS image, cascading.request)
SELECT receipt.*
FROM (SELECT) AS always
LEFT JOIN deleted ON true
CROSS JOIN LATERAL service.finish(
    :app, bench.id('bee00000', :n),
    CASE WHEN deleted.record IS NULL THEN 'NOT_FOUND' ELSE 'SUCCEEDED' END::service.ending,
    coalesce(deleted.record, '{}'), deleted.image, deleted.request) AS receipt;
COMMIT;
SELECT id, outcome FROM service.append(
    :app, jsonb_build_array(jsonb_build_object('id', bench.id('bee00000', :n), 'is_attempt', true, 'fence', 1)));
