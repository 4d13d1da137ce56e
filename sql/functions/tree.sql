-- The Merkle tree over a chain (RFC 9162, section 2.1): its full tiles become rows of audit.nodes.
--
-- Called by service.append after each 256th entry, under the lock of the chain's head. Takes no locks of its own.
-- Hashes are put in order by subqueries: an ORDER BY within string_agg sorts the hashes themselves, which takes twice
-- as long.

CREATE OR REPLACE FUNCTION audit.tile_root(hashes bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_hashes bytea := hashes;
BEGIN
    WHILE octet_length(v_hashes) > 32 LOOP
        v_hashes := (
            SELECT string_agg(sha256('\x01'::bytea || substr(v_hashes, 64 * pair.i + 1, 64)), '')
            FROM (SELECT i FROM generate_series(0, octet_length(v_hashes) / 64 - 1) AS i ORDER BY i) AS pair);
    END LOOP;
    RETURN v_hashes;
END
$$;
COMMENT ON FUNCTION audit.tile_root(bytea) IS
    'Root of a perfect tree over hashes of 32 bytes that stand one after another; their number must be a power of two.';

CREATE OR REPLACE FUNCTION service.fold_tiles(p_app_id uuid, p_seq bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_level  int := 1;
    v_index  bigint := p_seq / 256 - 1;
    v_hashes bytea;
BEGIN
    SELECT string_agg(sha256('\x00'::bytea || leaf.hash), '') INTO v_hashes
    FROM (SELECT e.hash
          FROM audit.entries AS e
          WHERE e.app_id = p_app_id AND e.seq > p_seq - 256 AND e.seq <= p_seq
          ORDER BY e.seq) AS leaf;
    -- A tile that lacks a hash was tampered with. The chain goes on, and audit verify names the missing node.
    WHILE octet_length(v_hashes) = 256 * 32 LOOP
        INSERT INTO audit.nodes (app_id, level, index, hash)
        VALUES (p_app_id, v_level, v_index, audit.tile_root(v_hashes))
        ON CONFLICT DO NOTHING;
        EXIT WHEN (v_index + 1) % 256 <> 0;
        SELECT string_agg(node.hash, '') INTO v_hashes
        FROM (SELECT n.hash
              FROM audit.nodes AS n
              WHERE n.app_id = p_app_id AND n.level = v_level AND n.index > v_index - 256 AND n.index <= v_index
              ORDER BY n.index) AS node;
        v_level := v_level + 1;
        v_index := v_index / 256;
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.fold_tiles(uuid, bigint) IS
    'Stores the roots of the tiles that are full once a chain has p_seq entries, a multiple of 256, from the lowest level up.';
