-- Permissions: what a role, and a key, may do.
--
-- Called by authorization, by deletions that run later than they were asked for, and by GET /key. Takes no locks.

CREATE OR REPLACE FUNCTION service.permissions(p_role text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_role
    WHEN 'viewer' THEN '{customers:read}'::text[]
    WHEN 'editor' THEN '{customers:read,customers:write}'::text[]
    WHEN 'admin' THEN
        '{customers:read,customers:write,customers:delete,customers:restore,audit:read,webhooks:manage}'::text[]
    WHEN 'auditor' THEN '{audit:read}'::text[]
    ELSE '{}'::text[] END;
COMMENT ON FUNCTION service.permissions(text) IS 'What a role may do.';

CREATE OR REPLACE FUNCTION service.permits(p_role text, p_permissions text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cardinality(p_permissions) > 0 AND p_permissions <@ ('any'::text || service.permissions(p_role));
COMMENT ON FUNCTION service.permits(text, text[]) IS
    'Whether a role holds all of these permissions; "any" is held by all. An empty list permits nothing.';

CREATE OR REPLACE FUNCTION service.permits(p_key service.api_keys, p_permissions text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN service.permits((p_key).role, p_permissions)
    AND ((p_key).permissions IS NULL OR p_permissions <@ ('any'::text || (p_key).permissions));
COMMENT ON FUNCTION service.permits(service.api_keys, text[]) IS
    'Whether a key has all of these permissions: its role holds them, and it wasn''t made with fewer.';

-- Called by GET /key.
CREATE OR REPLACE FUNCTION service.describe_key(p_app_id uuid, p_key_id uuid, p_switched_off text[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT row_to_json(described)::text
    FROM (SELECT k.client_key, k.name, k.role,
                 ARRAY(SELECT p.permission
                       FROM unnest(service.permissions(k.role)) WITH ORDINALITY AS p (permission, position)
                       WHERE service.permits(k, ARRAY[p.permission]) AND p.permission <> ALL (p_switched_off)
                       ORDER BY p.position) AS permissions,
                 'app_' || k.app_id AS "appId", service.rfc3339(k.expires_at) AS expires_at
          FROM service.api_keys AS k
          WHERE k.app_id = p_app_id AND k.id = p_key_id) AS described
$$;
COMMENT ON FUNCTION service.describe_key IS
    'What an API key is and may do, as the API renders it, without the permissions for which nothing is switched on.';
