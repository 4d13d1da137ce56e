-- Floor (d): admission, asynchronous, and one row appended to the trail, synchronous.
\set i :i + 1
\set n :base + :client_id * 1000000 + :i
SELECT a.verdict FROM service.admit(
    :key, decode(:digest, 'hex'), :permissions, 1, 1000000000, '60 s', true, bench.id('bee00000', :n),
    bench.id('bea10000', :n::bigint % 64 + 1), sha256(convert_to('replay', 'UTF8')), '15 s', '1 day',
    bench.entry(bench.id('bee00000', :n), bench.id('bea00000', :n::bigint % 64 + 1), bench.id('bea10000', :n::bigint % 64 + 1)),
    '127.0.0.1') AS a;
SELECT id, outcome FROM service.append(jsonb_build_array(
    bench.entry(bench.id('bee00000', :n), bench.id('bea00000', :n::bigint % 64 + 1), bench.id('bea10000', :n::bigint % 64 + 1))
    || jsonb_build_object('app_id', :app::uuid, 'outcome', 'REPLAYED', 'status_code', 200)));
