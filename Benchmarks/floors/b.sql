-- Floor (b): a deletion in one call of a function, with one commit.
\set i :i + 1
\set n :base + :client_id * 1000000 + :i
SELECT bench.delete_at_once(
    :app, :key, decode(:digest, 'hex'), bench.id('bee00000', :n), bench.id('bed00000', :n), bench.id('bec00000', :n));
