-- The locks of an append: the attempts by id, then the head of the chain.
--
-- Called by service.append and append_each.

CREATE OR REPLACE FUNCTION service.lock_attempts(p_app_id uuid, p_entries jsonb, p_may_wait boolean) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id     uuid;
    v_locked uuid[] := '{}';
BEGIN
    -- One by one by their key: a condition on an array of ids would be planned at each call, for the array's length.
    FOR v_id IN
        SELECT (e.item ->> 'id')::uuid
        FROM jsonb_array_elements(p_entries) AS e (item)
        WHERE (e.item ->> 'is_attempt')::boolean
        ORDER BY 1
    LOOP
        IF p_may_wait THEN
            PERFORM FROM service.attempts AS a WHERE a.app_id = p_app_id AND a.attempt_id = v_id FOR UPDATE;
        ELSE
            PERFORM FROM service.attempts AS a WHERE a.app_id = p_app_id AND a.attempt_id = v_id FOR UPDATE SKIP LOCKED;
        END IF;
        IF FOUND THEN
            v_locked := v_locked || v_id;
        END IF;
    END LOOP;
    RETURN v_locked;
END
$$;
COMMENT ON FUNCTION service.lock_attempts IS
    'Locks the attempts of those entries that have one, in the order of their ids; returns those that it has got.';

CREATE OR REPLACE FUNCTION service.lock_head(p_app_id uuid, p_may_wait boolean) RETURNS audit.heads
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_genesis CONSTANT bytea := decode(repeat('00', 32), 'hex');
    v_head    audit.heads;
BEGIN
    LOOP
        IF p_may_wait THEN
            SELECT * INTO v_head FROM audit.heads AS h WHERE h.app_id = p_app_id FOR UPDATE;
        ELSE
            SELECT * INTO v_head FROM audit.heads AS h WHERE h.app_id = p_app_id FOR UPDATE SKIP LOCKED;
        END IF;
        IF FOUND THEN
            RETURN v_head;
        END IF;
        -- Apart: together with FOUND, which mostly makes it needless, the plan would be made anew at each call.
        IF EXISTS (SELECT FROM audit.heads AS h WHERE h.app_id = p_app_id) THEN
            RETURN v_head;
        END IF;
        -- A chain that has entries has a head: making another would start the chain again. Both are looked at in one
        -- snapshot, since the chain may have begun after the look above.
        IF EXISTS (SELECT FROM audit.entries AS e WHERE e.app_id = p_app_id)
           AND NOT EXISTS (SELECT FROM audit.heads AS h WHERE h.app_id = p_app_id) THEN
            RAISE EXCEPTION 'the head of the chain of app % is missing', p_app_id USING ERRCODE = 'CD004';
        END IF;
        -- A chain that begins now: a concurrent beginning is waited for here.
        INSERT INTO audit.heads (app_id, seq, hash) VALUES (p_app_id, 0, c_genesis) ON CONFLICT DO NOTHING;
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.lock_head IS
    'The head of a chain under its lock, made where the chain has none yet. NULL if it is locked and p_may_wait is false; CD004 if the chain has entries but no head.';
