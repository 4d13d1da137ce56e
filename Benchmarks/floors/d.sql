-- Floor (d): admission, asynchronous, and one row appended to the trail, synchronous.
\set i :i + 1
\set n :base + :client_id * 1000000 + :i
SELECT (a.admission).verdict FROM service.admit(
    :key, decode(:digest, 'hex'), :permissions, 1, 1000000000, '60 s', true, bench.id('bee00000', :n), 'customer.delete',
    bench.id('bea00000', :n::bigint % 64 + 1), bench.id('bea10000', :n::bigint % 64 + 1),
    sha256(convert_to('replay', 'UTF8')), '15 s', '1 day', bench.context(bench.id('bea00000', :n::bigint % 64 + 1)),
    '127.0.0.1') AS a;
SELECT id, outcome FROM service.append(:app, jsonb_build_array(
    bench.context(bench.id('bea00000', :n::bigint % 64 + 1))
    || jsonb_build_object(
        'id', bench.id('bee00000', :n), 'action', 'customer.delete',
        'customer_id', bench.id('bea00000', :n::bigint % 64 + 1),
        'idempotency_key', bench.id('bea10000', :n::bigint % 64 + 1), 'outcome', 'REPLAYED', 'status_code', 200)));
