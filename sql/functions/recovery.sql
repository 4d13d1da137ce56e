-- Recovery: finishes attempts that no instance finishes any more, folds floods, forgets expired answers. What began in
-- the future began before the clock stepped back, and is over. The future is compared with the clock as it is when a row
-- is read: what was read of it earlier is older than the snapshot, and what began between the two would lie in the future.
--
-- Called by the Recovery service of every instance, at start and every second: overdue first, then recover app by app,
-- so that a chain that can't be appended to fails alone. Two at once are harmless.
-- Locks, in this order: attempts by id, skipping locked ones; floods; the head of the chain last.
--
-- Rows that were locked are named by their ctid or key in an array, which is made once. Joined with what locks them, a plan
-- that expects no rows, as of a table that was empty when it was analyzed, locks them anew for each row of the table. A row
-- that has changed since the statement began isn't found by its ctid, and waits for the next run.

CREATE OR REPLACE FUNCTION service.release(p_attempts uuid[]) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.attempts AS a
    SET lease_expires_at = least(a.lease_expires_at, clock_timestamp())
    WHERE a.ctid = ANY (ARRAY(
        SELECT o.ctid
        FROM service.attempts AS o
        WHERE o.entry_seq IS NULL AND o.attempt_id = ANY (p_attempts)
        ORDER BY o.app_id, o.attempt_id
        FOR UPDATE SKIP LOCKED))
    RETURNING a.attempt_id
$$;
COMMENT ON FUNCTION service.release IS
    'Ends the leases of attempts that their instance gave up without knowing their end, so that recovery or a retry takes them over at once. Skips those that a transaction still holds. Returns the others.';

CREATE OR REPLACE FUNCTION service.overdue() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT app_id
    FROM (SELECT a.app_id
          FROM service.attempts AS a
          WHERE a.entry_seq IS NULL
            AND (a.lease_expires_at < statement_timestamp() OR a.admitted_at > clock_timestamp())
          UNION ALL
          SELECT f.app_id
          FROM service.floods AS f
          WHERE f.closes_at < statement_timestamp() - interval '1 second' OR f.opened_at > clock_timestamp()
          UNION ALL
          SELECT r.app_id
          FROM service.redactions AS r
          WHERE NOT r.is_erased AND service.redaction_seq(r) IS NOT NULL) AS work
$$;
COMMENT ON FUNCTION service.overdue IS 'The apps that have something to recover.';

CREATE OR REPLACE FUNCTION service.recover(p_app_id uuid, p_limit int) RETURNS service.recovered
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_attempt   service.attempts;
    v_flood     service.floods;
    v_entries   jsonb := '[]';
    v_now       timestamptz := clock_timestamp();
    v_recovered service.recovered := ROW(0, 0, 0, 0);
BEGIN
    FOR v_attempt IN
        SELECT *
        FROM service.attempts AS a
        WHERE a.app_id = p_app_id AND a.entry_seq IS NULL AND (a.lease_expires_at < v_now OR a.admitted_at > clock_timestamp())
        ORDER BY a.attempt_id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    LOOP
        IF v_attempt.outcome IS NULL THEN
            UPDATE service.attempts AS a
            SET fence = a.fence + 1, outcome = 'INTERRUPTED', finished_at = v_now, is_current = false
            WHERE a.app_id = p_app_id AND a.attempt_id = v_attempt.attempt_id;
            v_recovered.interrupted := v_recovered.interrupted + 1;
        ELSE
            v_recovered.completed := v_recovered.completed + 1;
        END IF;
    END LOOP;
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.attempt_id, 'is_attempt', true) ORDER BY a.finished_at), '[]')
    INTO v_entries
    FROM (SELECT o.attempt_id, o.finished_at
          FROM service.attempts AS o
          WHERE o.app_id = p_app_id AND o.entry_seq IS NULL AND o.outcome IS NOT NULL
            AND (o.lease_expires_at < v_now OR o.admitted_at > clock_timestamp())
          ORDER BY o.attempt_id
          LIMIT p_limit
          FOR UPDATE SKIP LOCKED) AS a;

    FOR v_flood IN
        DELETE FROM service.floods AS f
        WHERE f.ctid = ANY (ARRAY(
            SELECT o.ctid
            FROM service.floods AS o
            WHERE o.app_id = p_app_id AND (o.closes_at < v_now - interval '1 second' OR o.opened_at > clock_timestamp())
            LIMIT p_limit
            FOR UPDATE SKIP LOCKED))
        RETURNING f.*
    LOOP
        v_recovered.closed := v_recovered.closed + 1;
        CONTINUE WHEN v_flood.folded = 0;
        v_recovered.folded := v_recovered.folded + 1;
        v_entries := v_entries || jsonb_build_array(
            v_flood.entry || jsonb_build_object(
                'id', v_flood.entry_id,
                'outcome', v_flood.kind,
                'status_code', service.status_code(v_flood.kind::service.ending),
                'request', (v_flood.entry -> 'request') || jsonb_build_object('folded', v_flood.folded)));
    END LOOP;
    IF v_entries <> '[]' THEN
        BEGIN
            -- A chain that another transaction holds waits for the next run.
            PERFORM service.append(p_app_id, v_entries, 100);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            PERFORM service.append_each(p_app_id, v_entries, 100);
        END;
    END IF;
    RETURN v_recovered;
END
$$;
COMMENT ON FUNCTION service.recover IS
    'Receipts of an app without entry are completed, attempts past their lease end as INTERRUPTED and free their key, closed floods are folded.';

CREATE OR REPLACE FUNCTION service.purge(p_limit int) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH purged AS (
        DELETE FROM service.attempts AS a
        WHERE a.ctid = ANY (ARRAY(
            SELECT o.ctid
            FROM service.attempts AS o
            -- clock_timestamp() is volatile, and no condition for an index.
            WHERE o.expires_at < statement_timestamp()
            LIMIT p_limit
            FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM purged
$$;
COMMENT ON FUNCTION service.purge IS 'Forgets answers whose time is over, never one that still lacks its audit entry.';

CREATE OR REPLACE FUNCTION service.audit_lag(OUT attempts bigint, OUT seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(a.finished_at)), 0)
    FROM service.attempts AS a
    WHERE a.entry_seq IS NULL AND a.finished_at IS NOT NULL
$$;
COMMENT ON FUNCTION service.audit_lag IS
    'How many finished attempts lack their audit entry, and for how many seconds the oldest has.';
