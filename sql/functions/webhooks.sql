-- Webhooks: their management.
--
-- Called by the operations on webhooks, in their unit of work. Locks, in this order: the attempt (by the unit of work),
-- the app's list of webhooks, the webhook.

CREATE OR REPLACE FUNCTION service.webhook(w service.webhooks) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    SELECT row_to_json(r)::text
    FROM (SELECT w.id,
                 w.url,
                 coalesce(w.types, service.event_types()) AS types,
                 w.description,
                 w.status,
                 service.rfc3339(w.created_at) AS "createdAt") AS r);
COMMENT ON FUNCTION service.webhook(service.webhooks) IS 'A webhook as the API renders it, without its secret.';

CREATE OR REPLACE FUNCTION service.list_webhooks(p_app_id uuid, p_id uuid DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT service.webhook(w)
    FROM service.webhooks AS w
    WHERE w.app_id = p_app_id AND (p_id IS NULL OR w.id = p_id)
    ORDER BY w.created_at, w.id
$$;
COMMENT ON FUNCTION service.list_webhooks IS 'The webhooks of an app, or one of them, in the order in which they were made.';

CREATE OR REPLACE FUNCTION service.create_webhook(
    p_app_id uuid, p_id uuid, p_url text, p_types text[], p_description text, p_secret bytea) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_most    CONSTANT int := 20;
    v_webhook service.webhooks;
BEGIN
    -- One after the other, or two at once would both be the twentieth.
    PERFORM pg_advisory_xact_lock(hashtextextended('webhooks of ' || p_app_id, 0));
    IF (SELECT count(*) FROM service.webhooks AS w WHERE w.app_id = p_app_id) >= c_most THEN
        RETURN NULL;
    END IF;
    INSERT INTO service.webhooks (app_id, id, url, types, description, secret, after_seq)
    VALUES (p_app_id, p_id, p_url, p_types, p_description, p_secret,
            coalesce((SELECT h.seq FROM audit.heads AS h WHERE h.app_id = p_app_id), 0))
    RETURNING * INTO v_webhook;
    RETURN service.webhook(v_webhook);
END
$$;
COMMENT ON FUNCTION service.create_webhook IS
    'Makes a webhook, which starts with what comes next. NULL when the app has as many as it may.';

CREATE OR REPLACE FUNCTION service.change_webhook(p_app_id uuid, p_id uuid, p_fields jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_webhook service.webhooks;
BEGIN
    UPDATE service.webhooks AS w
    SET url = coalesce(p_fields ->> 'url', w.url),
        types = CASE WHEN p_fields ? 'types'
                     THEN (SELECT array_agg(t.type ORDER BY t.position)
                           FROM jsonb_array_elements_text(nullif(p_fields -> 'types', 'null'))
                               WITH ORDINALITY AS t (type, position))
                     ELSE w.types END,
        description = CASE WHEN p_fields ? 'description' THEN p_fields ->> 'description' ELSE w.description END,
        status = coalesce(p_fields ->> 'status', w.status),
        -- A deliverer that is under way with what was before finds out, and the next one begins at once.
        fence = w.fence + 1,
        lease_expires_at = NULL,
        retry_at = NULL,
        failures = CASE WHEN w.status = 'DISABLED' AND p_fields ->> 'status' = 'ENABLED' THEN 0 ELSE w.failures END,
        failing_since = CASE WHEN w.status = 'DISABLED' AND p_fields ->> 'status' = 'ENABLED' THEN NULL
                             ELSE w.failing_since END
    WHERE w.app_id = p_app_id AND w.id = p_id
    RETURNING * INTO v_webhook;
    RETURN CASE WHEN FOUND THEN service.webhook(v_webhook) END;
END
$$;
COMMENT ON FUNCTION service.change_webhook IS
    'Changes the members of a webhook that are given. One that is enabled goes on where it stopped. NULL when there is none.';

CREATE OR REPLACE FUNCTION service.delete_webhook(p_app_id uuid, p_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM service.webhooks AS w WHERE w.app_id = p_app_id AND w.id = p_id;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION service.delete_webhook IS 'Deletes a webhook and its history. False when there is none.';

CREATE OR REPLACE FUNCTION service.replay_webhook(p_app_id uuid, p_id uuid, p_after bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_webhook service.webhooks;
BEGIN
    UPDATE service.webhooks AS w
    -- No further than the end: what came next would be skipped.
    SET after_seq = least(p_after, coalesce((SELECT h.seq FROM audit.heads AS h WHERE h.app_id = p_app_id), 0)),
        fence = w.fence + 1, lease_expires_at = NULL, retry_at = NULL
    WHERE w.app_id = p_app_id AND w.id = p_id
    RETURNING * INTO v_webhook;
    RETURN CASE WHEN FOUND THEN service.webhook(v_webhook) END;
END
$$;
COMMENT ON FUNCTION service.replay_webhook IS 'Moves a webhook to another place in the chain, back or forth to its end. NULL when there is none.';
