-- Retention: erases the context of entries that are older than so many days: who asked from where, with which headers;
-- and what PostgreSQL remembers of customers for its planner.
--
-- The entry comes first, as for a redaction: trail.retention declares up to which seq the context is erased; then it
-- is, in batches of short transactions. Called by the Retention service of every instance, at start and every hour; two
-- at once are harmless. Locks, in this order: the row of service.retentions, the head of the chain last; by itself, the
-- statistics of customers (SHARE UPDATE EXCLUSIVE, which no request needs).

CREATE OR REPLACE FUNCTION service.retention_apps() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.app_id FROM audit.heads AS h ORDER BY h.app_id
$$;
COMMENT ON FUNCTION service.retention_apps IS 'All chains.';

CREATE OR REPLACE FUNCTION service.retain(p_app_id uuid, p_days int, p_limit int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_retention service.retentions;
    v_up_to     bigint;
    v_batch     bigint[];
BEGIN
    INSERT INTO service.retentions (app_id) VALUES (p_app_id) ON CONFLICT DO NOTHING;
    SELECT * INTO v_retention FROM service.retentions AS r WHERE r.app_id = p_app_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        -- Another instance does it.
        RETURN false;
    END IF;
    IF v_retention.erased_to = v_retention.declared_to THEN
        -- A declaration alone has no context that is worth another.
        SELECT max(e.seq) INTO v_up_to
        FROM audit.entries AS e
        WHERE e.app_id = p_app_id AND e.seq > v_retention.declared_to
          AND e.occurred_at < clock_timestamp() - make_interval(days => p_days)
          AND e.action <> 'trail.retention';
        IF v_up_to IS NULL THEN
            RETURN false;
        END IF;
        PERFORM service.append(p_app_id, jsonb_build_array(jsonb_build_object(
            'id', gen_random_uuid(),
            'occurred_at', clock_timestamp(),
            'action', 'trail.retention',
            'outcome', 'SUCCEEDED',
            'actor_name', session_user,
            'request', jsonb_build_object('days', p_days, 'up_to', v_up_to))));
        UPDATE service.retentions AS r SET declared_to = v_up_to WHERE r.app_id = p_app_id;
        RETURN true;
    END IF;
    v_batch := ARRAY(
        SELECT e.seq
        FROM audit.entries AS e
        WHERE e.app_id = p_app_id AND e.seq > v_retention.erased_to AND e.seq <= v_retention.declared_to
        ORDER BY e.seq
        LIMIT p_limit);
    UPDATE audit.entries AS e
    SET ip = NULL, user_agent = NULL, actor_claimed = NULL, request = e.request - 'headers', context_salt = NULL
    WHERE e.app_id = p_app_id AND e.seq = ANY (v_batch) AND e.context_salt IS NOT NULL;
    v_up_to := v_batch[cardinality(v_batch)];
    UPDATE service.retentions AS r
    SET erased_to = coalesce(v_up_to, r.declared_to)
    WHERE r.app_id = p_app_id;
    RETURN true;
END
$$;
COMMENT ON FUNCTION service.retain IS
    'One step for a chain: declares up to which seq entries are older than so many days, or erases a batch of their contexts. Returns whether there may be more to do.';

CREATE OR REPLACE FUNCTION service.forget_samples(p_age interval) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_is_due boolean;
BEGIN
    -- After a crash of the server it doesn't know when, nor what has changed since.
    SELECT s.analyzed_at IS NULL OR s.changes > 0 AND s.analyzed_at < clock_timestamp() - p_age
    INTO v_is_due
    FROM (SELECT greatest(t.last_analyze, t.last_autoanalyze) AS analyzed_at, t.n_mod_since_analyze AS changes
          FROM pg_stat_all_tables AS t
          WHERE t.relid = 'public.customers'::regclass) AS s;
    IF NOT v_is_due OR NOT pg_try_advisory_xact_lock(hashtextextended('samples of customers', 0)) THEN
        RETURN false;
    END IF;
    ANALYZE public.customers;
    RETURN true;
END
$$;
COMMENT ON FUNCTION service.forget_samples IS
    'Samples customers anew where the samples that the planner goes by are older than so long: they hold names and addresses, of those who have been deleted since too. Autovacuum waits for a tenth of all rows to change. Returns whether it did.';
