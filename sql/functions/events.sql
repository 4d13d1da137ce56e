-- Events: the chain of an app as others are told of it. An event is a reading of an entry, so none is lost, none is
-- invented, and all have an order; nothing is written for it.
--
-- Called by GET /api/v0/events and by the EventFeed, which looks for all listeners together once a second. Takes no
-- locks. An entry of whatever kind moves a reader on, so no call reads more than a thousand entries, and no index of
-- events is needed.

CREATE OR REPLACE FUNCTION service.event_type(p_action text, p_outcome text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_outcome
    WHEN 'SUCCEEDED' THEN CASE p_action
        WHEN 'customer.create' THEN 'customer.created'
        WHEN 'customer.update' THEN 'customer.updated'
        WHEN 'customer.status' THEN 'customer.status_changed'
        WHEN 'customer.archive' THEN 'customer.archived'
        WHEN 'customer.unarchive' THEN 'customer.unarchived'
        WHEN 'customer.delete' THEN 'customer.deleted'
        WHEN 'customer.redact' THEN 'customer.redacted'
        WHEN 'customer.restore' THEN 'customer.restored'
        WHEN 'deletion.schedule' THEN 'customer.deletion_scheduled'
        WHEN 'deletion.cancel' THEN 'customer.deletion_cancelled' END
    WHEN 'REFUSED' THEN CASE p_action WHEN 'customer.delete' THEN 'customer.deletion_refused' END END;
COMMENT ON FUNCTION service.event_type(text, text) IS
    'The type of the event that an entry is; NULL for one that is none.';

CREATE OR REPLACE FUNCTION service.event_types() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{
    customer.created,customer.updated,customer.status_changed,customer.archived,customer.unarchived,customer.deleted,
    customer.deletion_refused,customer.redacted,customer.restored,customer.deletion_scheduled,
    customer.deletion_cancelled}'::text[];
COMMENT ON FUNCTION service.event_types() IS 'All types of events, in the order of docs/api.md.';

CREATE OR REPLACE FUNCTION service.event(e audit.entries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN row_to_json(ROW(
    service.event_type(e.action, e.outcome),
    e.id,
    e.seq,
    service.rfc3339(e.occurred_at),
    'app_' || e.app_id,
    e.customer_id,
    e.actor_name,
    e.request_id)::service.event_record)::text;
COMMENT ON FUNCTION service.event(audit.entries) IS
    'An entry as an event: nothing of it is personal data of a customer, so a redaction has nothing to erase where it was sent to.';

CREATE OR REPLACE FUNCTION service.events(p_app_id uuid, p_after bigint, p_limit int, p_types text[] DEFAULT NULL)
RETURNS TABLE (seq bigint, id uuid, type text, event text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH page AS MATERIALIZED (
        SELECT e.seq, e.id, t.type, service.event(e) AS event
        FROM audit.entries AS e
        CROSS JOIN LATERAL (SELECT service.event_type(e.action, e.outcome)) AS t (type)
        WHERE e.app_id = p_app_id AND e.seq > p_after AND e.seq <= p_after + 1000
          AND t.type IS NOT NULL AND (p_types IS NULL OR t.type = ANY (p_types))
        ORDER BY e.seq
        LIMIT p_limit)
    SELECT p.seq, p.id, p.type, p.event
    FROM page AS p
    UNION ALL
    -- Head and entries are of one snapshot, and the head's lock puts commits in order: nothing appears behind it later.
    SELECT CASE WHEN (SELECT count(*) FROM page) = p_limit THEN (SELECT max(p.seq) FROM page AS p)
                ELSE greatest(p_after, least(p_after + 1000, coalesce((
                    SELECT h.seq FROM audit.heads AS h WHERE h.app_id = p_app_id), 0))) END,
           NULL, NULL, NULL
    ORDER BY 1, 2 NULLS LAST
$$;
COMMENT ON FUNCTION service.events IS
    'The events behind a place in the chain, in order, of the next thousand entries at most. The last row is no event: its seq is the place up to which there are no others.';

CREATE OR REPLACE FUNCTION service.listening(p_apps uuid[], p_keys uuid[])
RETURNS TABLE (app_id uuid, seq bigint, ended_key uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.app_id, h.seq, NULL::uuid
    FROM audit.heads AS h
    WHERE h.app_id = ANY (p_apps)
    UNION ALL
    SELECT NULL, NULL, k.id
    FROM service.api_keys AS k
    WHERE k.app_id = ANY (p_apps) AND k.id = ANY (p_keys)
      AND (k.revoked_at IS NOT NULL OR k.expires_at <= statement_timestamp())
$$;
COMMENT ON FUNCTION service.listening IS
    'What an instance wants to know for all its listeners at once: how long the chains of their apps are, and which of their keys are good no more.';
