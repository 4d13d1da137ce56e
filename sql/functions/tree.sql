-- The Merkle tree over a chain (RFC 9162, section 2.1): its full tiles become rows of audit.nodes, and what was signed of it
-- rows of audit.checkpoints.
--
-- Called by service.append after each 256th entry, under the lock of the chain's head, and by customerd audit checkpoint.
-- Takes no locks of its own. Hashes are put in order by subqueries: an ORDER BY within string_agg sorts the hashes
-- themselves, which takes twice as long.

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

-- The one way into audit.checkpoints for the role that signs, which may call it, but not INSERT. The columns are read from the
-- note, so that they can't say something else. PostgreSQL can't verify an Ed25519 signature: those who read the rows do, and
-- pass over what isn't valid.
CREATE OR REPLACE FUNCTION audit.keep_checkpoint(p_note text, p_public_key text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- C2SP signed-note and tlog-checkpoint: origin, size, root, further lines, an empty one, signatures.
    c_note constant text := '^([^\n]+)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\n([1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n'
        || '((?:[^\n]+\n)*)\n((?:\u2014 [^ +\n]+ [A-Za-z0-9+/]+=*\n)+)$';
    c_key  constant text := '^([^[:space:]+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$';
    v_note text[] := regexp_match(p_note, c_note);
    v_key  text[] := regexp_match(p_public_key, c_key);
    v_id   bytea;
    v_app  uuid;
    v_size bigint;
    v_last bigint;
BEGIN
    IF v_note IS NULL OR octet_length(p_note) > 65536 OR p_note ~ '[\x01-\x09\x0b-\x1f]' THEN
        RAISE EXCEPTION 'the note isn''t the checkpoint of a chain' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF v_key IS NULL OR octet_length(decode(v_key[3], 'base64')) <> 33 OR get_byte(decode(v_key[3], 'base64'), 0) <> 1 THEN
        RAISE EXCEPTION 'the public key isn''t an Ed25519 verifier key' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_id := substr(sha256(convert_to(v_key[1], 'UTF8') || '\x0a' || decode(v_key[3], 'base64')), 1, 4);
    IF encode(v_id, 'hex') <> v_key[2] THEN
        RAISE EXCEPTION 'the id of the public key isn''t that of the key' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF v_note[1] <> v_key[1] THEN
        RAISE EXCEPTION 'the origin of the checkpoint doesn''t begin with the name of its key'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF encode(decode(v_note[4], 'base64'), 'base64') <> v_note[4] OR NOT EXISTS (
        SELECT
        FROM regexp_matches(v_note[6], '\u2014 ([^ ]+) ([^\n]+)\n', 'g') AS s (parts)
        CROSS JOIN LATERAL (SELECT decode(s.parts[2], 'base64')) AS b (bytes)
        WHERE s.parts[1] = v_key[1] AND octet_length(b.bytes) = 68 AND substr(b.bytes, 1, 4) = v_id) THEN
        RAISE EXCEPTION 'the checkpoint has no signature of its key' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_app := v_note[2];
    v_size := v_note[3];
    SELECT h.seq INTO v_last FROM audit.heads AS h WHERE h.app_id = v_app;
    IF v_size > coalesce(v_last, 0) THEN
        RAISE EXCEPTION 'the chain of app % has % entries, fewer than the % of the checkpoint', v_app, coalesce(v_last, 0), v_size
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF p_note = (SELECT c.note
                 FROM audit.checkpoints AS c
                 WHERE c.app_id = v_app AND c.size = v_size
                 ORDER BY c.signed_at DESC
                 LIMIT 1) THEN
        RETURN false;
    END IF;
    INSERT INTO audit.checkpoints (app_id, size, root, note, public_key)
    VALUES (v_app, v_size, decode(v_note[4], 'base64'), p_note, p_public_key);
    RETURN true;
END
$$;
COMMENT ON FUNCTION audit.keep_checkpoint(text, text) IS
    'Keeps a signed checkpoint if it has the form of one, of a chain that is so long, and claims to be signed with the key. False if the newest of its size is the same note.';
