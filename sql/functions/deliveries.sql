-- Deliveries: the steps of one, and their history. The HTTP call lies between claim_webhooks and record_deliveries, and
-- holds no session.
--
-- Called by the WebhookDeliverer of every instance, and by GET …/deliveries and POST …/ping.
-- Locks, in this order: the webhook, the head of the chain.

CREATE OR REPLACE FUNCTION service.webhook_delivery(d service.webhook_deliveries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    SELECT row_to_json(r)::text
    FROM (SELECT d.seq,
                 d.event_id AS id,
                 d.type,
                 d.attempt,
                 d.status_code,
                 d.error,
                 d.duration_ms,
                 service.rfc3339(d.at) AS at) AS r);
COMMENT ON FUNCTION service.webhook_delivery(service.webhook_deliveries) IS 'An attempt to deliver, as the API renders it.';

CREATE OR REPLACE FUNCTION service.list_webhook_deliveries(p_app_id uuid, p_id uuid, p_limit int) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((
               SELECT string_agg(service.webhook_delivery(d), ',' ORDER BY d.number DESC)
               FROM (SELECT *
                     FROM service.webhook_deliveries AS o
                     WHERE o.app_id = w.app_id AND o.webhook_id = w.id
                     ORDER BY o.number DESC
                     LIMIT p_limit) AS d), '')
    FROM service.webhooks AS w
    WHERE w.app_id = p_app_id AND w.id = p_id
$$;
COMMENT ON FUNCTION service.list_webhook_deliveries IS
    'The last attempts of a webhook, newest first, separated by commas. No row when there is no such webhook.';

CREATE OR REPLACE FUNCTION service.webhook_to_ping(p_app_id uuid, p_id uuid)
RETURNS TABLE (url text, secret bytea, previous_secret bytea, now text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT w.url, w.secret,
           CASE WHEN w.previous_secret_expires_at > statement_timestamp() THEN w.previous_secret END,
           service.rfc3339(statement_timestamp())
    FROM service.webhooks AS w
    WHERE w.app_id = p_app_id AND w.id = p_id
$$;
COMMENT ON FUNCTION service.webhook_to_ping IS 'What a ping is sent with. No row when there is no such webhook.';

CREATE OR REPLACE FUNCTION service.claim_webhooks(p_claim uuid, p_limit int, p_failing_limit int, p_lease interval)
RETURNS TABLE (
    app_id uuid, id uuid, fence int, url text, types text[], secret bytea, previous_secret bytea, after_seq bigint,
    failures int)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT w.ctid AS row_id, w.failures,
               row_number() OVER (PARTITION BY w.failures > 0 ORDER BY w.retry_at NULLS FIRST, w.after_seq) AS place
        FROM service.webhooks AS w
        JOIN audit.heads AS h ON h.app_id = w.app_id
        WHERE w.status = 'ENABLED' AND h.seq > w.after_seq
          AND (w.lease_expires_at IS NULL OR w.lease_expires_at <= statement_timestamp() OR w.claim = p_claim
               -- Granted before the clock stepped back.
               OR w.lease_expires_at > statement_timestamp() + 2 * p_lease)
          AND (w.retry_at IS NULL OR w.retry_at <= statement_timestamp()
               OR w.retry_at > statement_timestamp() + interval '2 hours'))
    UPDATE service.webhooks AS w
    SET fence = w.fence + 1, lease_expires_at = clock_timestamp() + p_lease, claim = p_claim, records = 0
    -- Arrays instead of joins, as in recovery.sql.
    WHERE w.ctid = ANY (ARRAY(
        SELECT o.ctid
        FROM service.webhooks AS o
        WHERE o.ctid = ANY (ARRAY(
            SELECT d.row_id
            FROM due AS d
            WHERE d.failures = 0 OR d.place <= p_failing_limit
            ORDER BY d.failures > 0, d.place
            LIMIT p_limit))
        FOR UPDATE SKIP LOCKED))
      AND w.status = 'ENABLED'
      AND (w.lease_expires_at IS NULL OR w.lease_expires_at <= clock_timestamp() OR w.claim = p_claim
           OR w.lease_expires_at > clock_timestamp() + 2 * p_lease)
    RETURNING w.app_id, w.id, w.fence, w.url, w.types, w.secret,
              CASE WHEN w.previous_secret_expires_at > clock_timestamp() THEN w.previous_secret END,
              w.after_seq, w.failures
$$;
COMMENT ON FUNCTION service.claim_webhooks IS
    'Leases webhooks that have something to deliver and that no instance delivers, those that don''t fail first. Each is the caller''s under the returned fence until the lease ends. A claim whose answer was lost is made again under the same id: what it granted isn''t locked up until the lease ends.';

CREATE OR REPLACE FUNCTION service.note_deliveries(
    p_app_id uuid, p_id uuid, p_deliveries jsonb, p_fence int DEFAULT NULL, p_record int DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH counted AS (
        UPDATE service.webhooks AS w
        SET deliveries = w.deliveries + jsonb_array_length(p_deliveries)
        WHERE w.app_id = p_app_id AND w.id = p_id
        RETURNING w.deliveries - jsonb_array_length(p_deliveries) AS before)
    INSERT INTO service.webhook_deliveries AS h
        (app_id, webhook_id, slot, number, seq, event_id, type, attempt, status_code, error, duration_ms, at, fence,
         record)
    SELECT p_app_id, p_id, (c.before + i.position) % 1000, c.before + i.position, i.seq, i.id, i.type, i.attempt,
           i.status_code, i.error, i.duration_ms, clock_timestamp() - make_interval(secs => i.ago_ms / 1000.0),
           p_fence, p_record
    FROM counted AS c
    CROSS JOIN ROWS FROM (jsonb_to_recordset(p_deliveries) AS (
            seq bigint, id uuid, type text, attempt int, status_code int, error text, duration_ms int, ago_ms int))
        WITH ORDINALITY AS i (seq, id, type, attempt, status_code, error, duration_ms, ago_ms, position)
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pkey DO UPDATE
        SET number = excluded.number, seq = excluded.seq, event_id = excluded.event_id, type = excluded.type,
            attempt = excluded.attempt, status_code = excluded.status_code, error = excluded.error,
            duration_ms = excluded.duration_ms, at = excluded.at, fence = excluded.fence, record = excluded.record
$$;
COMMENT ON FUNCTION service.note_deliveries IS
    'Adds at most a thousand attempts to the history of a webhook, in place of the oldest.';

CREATE OR REPLACE FUNCTION service.record_deliveries(
    p_app_id     uuid,
    p_id         uuid,
    p_fence      int,
    -- 1, 2, 3 … under this fence; the same when the answer was lost and the record is made again.
    p_record     int,
    p_deliveries jsonb,
    p_after      bigint,
    -- NULL ends the lease.
    p_lease      interval,
    p_failures   int,
    p_retry_in   interval,
    p_is_gone    boolean) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_patience CONSTANT interval := '3 days';
    v_now      timestamptz := clock_timestamp();
    v_webhook  service.webhooks;
    v_is_new   boolean;
BEGIN
    SELECT * INTO v_webhook FROM service.webhooks AS w WHERE w.app_id = p_app_id AND w.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'LOST';
    END IF;
    IF v_webhook.fence = p_fence AND v_webhook.records >= p_record THEN
        -- A record that comes late, after the next one, leaves the lease as it is.
        UPDATE service.webhooks AS w
        SET lease_expires_at = v_now + p_lease
        WHERE w.app_id = p_app_id AND w.id = p_id AND w.status = 'ENABLED' AND w.records = p_record;
        RETURN CASE v_webhook.status WHEN 'ENABLED' THEN 'HELD' ELSE 'DISABLED' END;
    END IF;
    v_is_new := p_deliveries <> '[]';
    IF v_is_new AND v_webhook.fence <> p_fence THEN
        v_is_new := NOT EXISTS (
            SELECT
            FROM service.webhook_deliveries AS d
            WHERE d.app_id = p_app_id AND d.webhook_id = p_id AND d.fence = p_fence AND d.record = p_record);
    END IF;
    IF v_is_new THEN
        PERFORM service.note_deliveries(p_app_id, p_id, p_deliveries, p_fence, p_record);
    END IF;
    IF v_webhook.fence <> p_fence THEN
        RETURN 'LOST';
    END IF;
    v_webhook.failing_since := CASE WHEN p_failures > 0 THEN
        -- A success lies between, or the clock has stepped back.
        CASE WHEN p_failures > v_webhook.failures THEN least(coalesce(v_webhook.failing_since, v_now), v_now)
             ELSE v_now END END;
    UPDATE service.webhooks AS w
    SET after_seq = p_after,
        lease_expires_at = v_now + p_lease,
        records = p_record,
        failures = p_failures,
        failing_since = v_webhook.failing_since,
        retry_at = v_now + p_retry_in
    WHERE w.app_id = p_app_id AND w.id = p_id;
    IF p_failures > 0 AND (p_is_gone OR v_now - v_webhook.failing_since >= c_patience) THEN
        UPDATE service.webhooks AS w
        -- The fence stays: enabling raises it, and until then the same record has the same answer.
        SET status = 'DISABLED', lease_expires_at = NULL, retry_at = NULL
        WHERE w.app_id = p_app_id AND w.id = p_id;
        PERFORM service.append(p_app_id, jsonb_build_array(jsonb_build_object(
            'id', gen_random_uuid(), 'action', 'webhook.disable', 'outcome', 'SUCCEEDED',
            'request', jsonb_build_object(
                'webhook', p_id, 'cause', CASE WHEN p_is_gone THEN 'gone' ELSE 'failing' END))), 1000);
        RETURN 'DISABLED';
    END IF;
    RETURN 'HELD';
END
$$;
COMMENT ON FUNCTION service.record_deliveries IS
    'Records what a deliverer did and how far it has come, and prolongs or ends its lease; the same record again changes nothing more. HELD, or LOST: the webhook was changed, deleted or taken over meanwhile, and its place stays. DISABLED: the receiver is gone, or has failed for three days; an entry says so.';

CREATE OR REPLACE FUNCTION service.webhook_lag(OUT seconds double precision, OUT failing bigint, OUT disabled bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
               max(extract(epoch FROM statement_timestamp() - e.recorded_at)) FILTER (WHERE w.status = 'ENABLED'), 0),
           count(*) FILTER (WHERE w.status = 'ENABLED' AND w.failures > 0),
           count(*) FILTER (WHERE w.status = 'DISABLED')
    FROM service.webhooks AS w
    LEFT JOIN audit.entries AS e ON e.app_id = w.app_id AND e.seq = w.after_seq + 1
$$;
COMMENT ON FUNCTION service.webhook_lag IS
    'For how many seconds the oldest entry has waited for a webhook that is enabled, and how many webhooks fail or are disabled.';
