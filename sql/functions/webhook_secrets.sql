-- The secrets of webhooks, which the service encrypts before they come here.
--
-- Called by POST …/rotate-secret, and at start by the WebhookDeliverer, which encrypts them with the newest key. Locks
-- the webhook.

CREATE OR REPLACE FUNCTION service.rotate_webhook_secret(p_app_id uuid, p_id uuid, p_secret bytea, p_overlap interval)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_webhook service.webhooks;
BEGIN
    UPDATE service.webhooks AS w
    SET secret = p_secret,
        previous_secret = CASE WHEN p_overlap > '0' THEN w.secret END,
        previous_secret_expires_at = CASE WHEN p_overlap > '0' THEN clock_timestamp() + p_overlap END,
        fence = w.fence + 1,
        lease_expires_at = NULL
    WHERE w.app_id = p_app_id AND w.id = p_id
    RETURNING * INTO v_webhook;
    RETURN CASE WHEN FOUND THEN service.webhook(v_webhook) END;
END
$$;
COMMENT ON FUNCTION service.rotate_webhook_secret IS
    'Gives a webhook another secret; deliveries are signed with the old one too during the overlap. NULL when there is none.';

CREATE OR REPLACE FUNCTION service.webhook_secrets(p_after_app uuid, p_after uuid, p_limit int)
RETURNS TABLE (app_id uuid, id uuid, secret bytea, previous_secret bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT w.app_id, w.id, w.secret, w.previous_secret
    FROM service.webhooks AS w
    WHERE (w.app_id, w.id) > (p_after_app, p_after)
    ORDER BY w.app_id, w.id
    LIMIT p_limit
$$;
COMMENT ON FUNCTION service.webhook_secrets IS 'The encrypted secrets of the webhooks of all apps, by pages.';

CREATE OR REPLACE FUNCTION service.reseal_webhook(
    p_app_id uuid, p_id uuid, p_secret bytea, p_previous_secret bytea, p_new_secret bytea, p_new_previous_secret bytea)
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.webhooks AS w
    SET secret = p_new_secret, previous_secret = p_new_previous_secret
    WHERE w.app_id = p_app_id AND w.id = p_id AND w.secret = p_secret
      AND w.previous_secret IS NOT DISTINCT FROM p_previous_secret
$$;
COMMENT ON FUNCTION service.reseal_webhook IS
    'Stores the secrets of a webhook encrypted with another key, unless they were rotated meanwhile. Deliveries that run go on.';
