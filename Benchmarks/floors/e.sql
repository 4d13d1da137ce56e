-- What reads are measured against: a customer by primary key.
\set n random(1, 1000)
SELECT service.record(c) FROM public.customers AS c WHERE c.app_id = :app AND c.id = bench.id('bef00000', :n);
