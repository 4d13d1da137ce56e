-- Erasure: what a redaction erases of stored answers and of the trail, in batches of short transactions, resumed by any
-- instance. Readers skip what is to be erased from the first moment.
--
-- Called by redact, by the operation RedactCustomer before its answer (erase), by recovery (erase_next), and by
-- service.append (declare_redaction). Locks, in this order: the row of service.redactions, the customer's attempts by
-- id, skipping those that are locked.

CREATE OR REPLACE FUNCTION service.redact_bulk_answers(
    p_app_id uuid, p_customer_id uuid, p_attempt_id uuid DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.attempts AS a
    SET body = (
        SELECT '{"results":[' || string_agg(
            CASE WHEN r.item ->> 'id' = p_customer_id::text AND r.item -> 'customer' IS NOT NULL
                 THEN format('{"id":%s,"statusCode":%s,"customer":%s}',
                             r.item -> 'id', r.item -> 'statusCode', service.redacted((r.item -> 'customer')::text))
                 ELSE r.item::text END, ',' ORDER BY r.position) || ']}'
        FROM json_array_elements(a.body::json -> 'results') WITH ORDINALITY AS r (item, position))
    WHERE a.app_id = p_app_id AND a.action = 'customer.bulk-delete' AND a.customer_id IS NULL
      AND a.attempt_id = ANY (ARRAY(
          SELECT o.attempt_id
          FROM service.attempts AS o
          WHERE o.app_id = p_app_id AND o.action = 'customer.bulk-delete' AND o.customer_id IS NULL
            AND o.outcome = 'SUCCEEDED' AND position(p_customer_id::text IN o.body) > 0
            AND (p_attempt_id IS NULL OR o.attempt_id = p_attempt_id)
          ORDER BY o.attempt_id
          FOR UPDATE))
$$;
COMMENT ON FUNCTION service.redact_bulk_answers IS
    'Erases the personal data of a customer from the stored answers of bulk requests, or of one of them.';

CREATE OR REPLACE FUNCTION service.redact_attempts(
    p_app_id uuid, p_customer_id uuid, p_except uuid, p_limit int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id    uuid;
    v_count bigint := 0;
BEGIN
    -- Found first, by the customer, and then locked one by one by their key: in one statement, all attempts of the app
    -- would be read, in the order of their ids, while the table's statistics are those of a small one.
    FOR v_id IN
        SELECT f.attempt_id
        FROM (SELECT a.attempt_id
              FROM service.attempts AS a
              WHERE a.app_id = p_app_id AND a.customer_id = p_customer_id AND a.attempt_id <> p_except
                AND NOT a.is_redacted
              OFFSET 0) AS f
        ORDER BY f.attempt_id
        LIMIT p_limit
    LOOP
        PERFORM
        FROM service.attempts AS a
        WHERE a.app_id = p_app_id AND a.attempt_id = v_id AND NOT a.is_redacted
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        UPDATE service.attempts AS a
        SET body = CASE WHEN a.outcome = 'SUCCEEDED' THEN service.redacted(a.body) ELSE a.body END,
            before_image = NULL,
            fingerprint = NULL,
            entry = a.entry - 'reason',
            failure = a.failure - 'error_message',
            is_redacted = true
        WHERE a.app_id = p_app_id AND a.attempt_id = v_id;
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION service.redact_attempts IS
    'Erases the personal data of a customer from attempts, all but one, except those that a transaction has locked: a running one waits for the customer, and finds it redacted.';

CREATE OR REPLACE FUNCTION service.declare_redaction(
    p_app_id uuid, p_customer_id uuid, p_attempt_id uuid, p_seq bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM
    FROM service.redactions AS r
    WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id AND r.attempt_id = p_attempt_id
    FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE service.redactions AS r
        SET entry_seq = p_seq
        WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id;
    END IF;
END
$$;
COMMENT ON FUNCTION service.declare_redaction IS
    'Notes the seq of the entry that declares a redaction, from which on earlier entries may be erased. By service.append, which waits for nothing here: if the row is locked, service.redaction_seq finds the entry.';

CREATE OR REPLACE FUNCTION service.redaction_seq(r service.redactions) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (r).entry_seq, (SELECT e.seq FROM audit.entries AS e WHERE e.app_id = (r).app_id AND e.id = (r).attempt_id))
$$;
COMMENT ON FUNCTION service.redaction_seq(service.redactions) IS
    'seq of the entry that declares the redaction; NULL until it is appended.';

CREATE OR REPLACE FUNCTION service.is_under_redaction(p_app_id uuid, p_customer_id uuid, p_seq bigint) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT
    FROM service.redactions AS r
    WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id
      AND NOT r.is_erased AND (r.entry_seq IS NULL OR r.entry_seq > p_seq));
COMMENT ON FUNCTION service.is_under_redaction IS
    'Whether an entry holds personal data that a redaction is about to erase, so that readers skip it.';

CREATE OR REPLACE FUNCTION service.erase(p_app_id uuid, p_customer_id uuid, p_limit int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_redaction service.redactions;
    v_batch     bigint[];
    v_erased_to bigint;
    v_attempts  bigint;
BEGIN
    SELECT * INTO v_redaction
    FROM service.redactions AS r
    WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id AND NOT r.is_erased
    FOR UPDATE SKIP LOCKED;
    v_redaction.entry_seq := service.redaction_seq(v_redaction);
    IF v_redaction.entry_seq IS NULL THEN
        -- Done, not declared yet, or another instance is doing it.
        RETURN coalesce((SELECT r.is_erased FROM service.redactions AS r
                         WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id), true);
    END IF;
    v_attempts := service.redact_attempts(p_app_id, p_customer_id, v_redaction.attempt_id, p_limit);
    v_batch := ARRAY(
        SELECT e.seq
        FROM audit.entries AS e
        WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id
          AND e.seq > v_redaction.erased_to AND e.seq < v_redaction.entry_seq
        ORDER BY e.seq
        LIMIT p_limit);
    UPDATE audit.entries AS e
    SET before_image = NULL, reason = NULL, error_message = NULL, subject_salt = NULL
    WHERE e.app_id = p_app_id AND e.seq = ANY (v_batch) AND e.subject_salt IS NOT NULL;
    v_erased_to := v_batch[cardinality(v_batch)];
    UPDATE service.redactions AS r
    SET erased_to = coalesce(v_erased_to, r.erased_to), entry_seq = v_redaction.entry_seq,
        is_erased = v_erased_to IS NULL AND v_attempts = 0
    WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id
    RETURNING * INTO v_redaction;
    RETURN v_redaction.is_erased;
END
$$;
COMMENT ON FUNCTION service.erase IS
    'Erases a batch of what a declared redaction takes: stored answers and subject data of earlier entries. Returns whether nothing is left. Any instance, any time; two at once are harmless.';

CREATE OR REPLACE FUNCTION service.erase_next(p_app_id uuid, p_limit int) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_and(service.erase(r.app_id, r.customer_id, p_limit)), true)
    FROM (SELECT o.app_id, o.customer_id
          FROM service.redactions AS o
          WHERE o.app_id = p_app_id AND NOT o.is_erased AND service.redaction_seq(o) IS NOT NULL
          ORDER BY o.customer_id
          LIMIT 1) AS r
$$;
COMMENT ON FUNCTION service.erase_next IS 'One batch of an app''s unfinished redactions. Returns whether nothing is left of it.';
