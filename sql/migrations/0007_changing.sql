-- The alternatives to deletion: change, archive, redact, restore; and deleting many at once.

CREATE FUNCTION service.etag(p_record text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '"' || left(encode(sha256(convert_to(p_record, 'UTF8')), 'hex'), 32) || '"'
$$;
COMMENT ON FUNCTION service.etag(text) IS 'Strong validator of a record: the first half of its SHA-256 (RFC 9110, section 8.8.3).';

-- Archive --------------------------------------------------------------------------------------------------------

CREATE FUNCTION public.refuse_archived_customer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_archived_at timestamptz;
BEGIN
    -- An update that writes every column as it was adds no record.
    IF TG_OP = 'UPDATE' AND (NEW.app_id, NEW.customer_id) = (OLD.app_id, OLD.customer_id) THEN
        RETURN NEW;
    END IF;
    -- FOR SHARE: the customer can't be archived between this look and the commit.
    SELECT c.archived_at INTO v_archived_at
    FROM public.customers AS c
    WHERE c.app_id = NEW.app_id AND c.id = NEW.customer_id
    FOR SHARE;
    IF v_archived_at IS NOT NULL THEN
        RAISE EXCEPTION 'the customer is archived and takes no new records'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION public.refuse_archived_customer() IS 'Refuses new records for an archived customer.';

CREATE TRIGGER invoices_need_a_customer_in_use BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.invoices
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();
CREATE TRIGGER payment_links_need_a_customer_in_use BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.payment_links
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();
CREATE TRIGGER transactions_need_a_customer_in_use BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.transactions
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();
CREATE TRIGGER liquidation_addresses_need_a_customer_in_use
    BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.liquidation_addresses
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();

-- Change ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION service.changed_members(p_before text, p_after text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_agg(b.key ORDER BY b.key), '[]')
    FROM jsonb_each(p_before::jsonb) AS b
    JOIN jsonb_each(p_after::jsonb) AS a ON a.key = b.key
    WHERE a.value IS DISTINCT FROM b.value AND b.key <> 'updatedAt'
$$;
COMMENT ON FUNCTION service.changed_members(text, text) IS 'Names of the members in which two records differ, for request.changes.';

-- Redact ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION service.redacted(p_record text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT row_to_json(r)::text
    FROM (SELECT j ->> 'id' AS id,
                 '[redacted]' AS first_name,
                 '' AS last_name,
                 NULL::text AS email,
                 '' AS phone_number,
                 j ->> 'status' AS status,
                 j ->> 'customer_type' AS customer_type,
                 j -> 'last_spent' AS last_spent,
                 j ->> 'last_purchase_date' AS last_purchase_date,
                 j ->> 'appId' AS "appId",
                 j ->> 'createdAt' AS "createdAt",
                 j ->> 'updatedAt' AS "updatedAt"
          FROM (SELECT p_record::json AS j) AS parsed) AS r
$$;
COMMENT ON FUNCTION service.redacted(text) IS 'A rendered record without its personal data, all else digit by digit.';

CREATE OR REPLACE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The one exception: a redaction under way may take subject data and its salt away, and touch nothing else.
    IF TG_OP = 'UPDATE'
       AND NEW.before_image IS NULL AND NEW.reason IS NULL AND NEW.error_message IS NULL AND NEW.subject_salt IS NULL
       AND (to_jsonb(NEW) - '{before_image,reason,error_message,subject_salt}'::text[])
         = (to_jsonb(OLD) - '{before_image,reason,error_message,subject_salt}'::text[])
       AND EXISTS (
           SELECT
           FROM service.redactions AS r
           WHERE r.app_id = NEW.app_id AND r.customer_id = NEW.customer_id
             AND r.transaction_id = pg_current_xact_id()) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit.entries is append-only: % is not allowed', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION audit.refuse_change() IS
    'Bars UPDATE, DELETE and TRUNCATE of the trail, for its owner too; a redaction may erase subject data.';

CREATE FUNCTION service.await_redactions(p_app_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_advisory_xact_lock_shared(hashtextextended('redaction ' || p_app_id, 0))
$$;
COMMENT ON FUNCTION service.await_redactions IS
    'Until the end of the transaction no redaction of the app is under way, so that what it reads next isn''t about to be erased.';

CREATE FUNCTION service.redact_bulk_answers(p_app_id uuid, p_customer_id uuid, p_attempt_id uuid DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.attempts AS a
    SET body = (
        SELECT '{"results":[' || string_agg(
            CASE WHEN r.item ->> 'id' = p_customer_id::text AND r.item -> 'customer' IS NOT NULL
                 THEN format('{"id":%s,"statusCode":%s,"customer":%s}',
                             r.item -> 'id', r.item -> 'statusCode', service.redacted((r.item -> 'customer')::text))
                 ELSE r.item::text END, ',' ORDER BY r.position) || ']}'
        FROM json_array_elements(a.body::json -> 'results') WITH ORDINALITY AS r (item, position))
    WHERE a.app_id = p_app_id AND a.entry ->> 'customer_id' IS NULL AND a.entry ->> 'action' = 'customer.bulk-delete'
      AND a.outcome = 'SUCCEEDED' AND position(p_customer_id::text IN a.body) > 0
      AND (p_attempt_id IS NULL OR a.attempt_id = p_attempt_id)
$$;
COMMENT ON FUNCTION service.redact_bulk_answers IS
    'Erases the personal data of a customer from the stored answers of bulk requests, or of one of them.';

CREATE FUNCTION service.redact_attempts(p_app_id uuid, p_customer_id uuid, p_but uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.attempts AS a
    SET body = CASE WHEN a.outcome = 'SUCCEEDED' THEN service.redacted(a.body) ELSE a.body END,
        before_image = NULL,
        entry = a.entry - 'reason' || '{"is_redacted": true}',
        failure = a.failure - 'error_message'
    WHERE a.app_id = p_app_id AND a.attempt_id IN (
        SELECT o.attempt_id
        FROM service.attempts AS o
        WHERE o.app_id = p_app_id AND o.entry ->> 'customer_id' = p_customer_id::text AND o.attempt_id <> p_but
        FOR UPDATE SKIP LOCKED)
$$;
COMMENT ON FUNCTION service.redact_attempts IS
    'Erases the personal data of a customer from all attempts but one, except those that somebody has locked.';

CREATE FUNCTION service.redact(p_app_id uuid, p_attempt_id uuid, p_customer_id uuid, p_not_found text)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now    timestamptz;
    v_record text;
    v_seqs   bigint[];
BEGIN
    -- One at a time in an app, and nobody restores or keeps a bulk answer meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended('redaction ' || p_app_id, 0));

    -- From here on, whoever is about to look at the customer waits and finds it redacted.
    PERFORM FROM public.customers AS c WHERE c.app_id = p_app_id AND c.id = p_customer_id FOR UPDATE;
    v_now := clock_timestamp();
    UPDATE public.customers AS c
    SET first_name = '[redacted]', last_name = '', email = NULL, phone_number = '', redacted_at = v_now,
        updated_at = CASE WHEN (c.first_name, c.last_name, c.phone_number) = ('[redacted]', '', '') AND c.email IS NULL
                          THEN c.updated_at ELSE v_now END
    WHERE c.app_id = p_app_id AND c.id = p_customer_id
    RETURNING service.record(c) INTO v_record;
    IF NOT FOUND THEN
        -- Deleted already: its receipts, its trail or an earlier redaction knows it.
        SELECT known.record INTO v_record
        FROM (SELECT service.redacted(CASE a.outcome WHEN 'SUCCEEDED' THEN a.body ELSE a.before_image END) AS record,
                     1 AS preference, a.finished_at AS at
              FROM service.attempts AS a
              WHERE a.app_id = p_app_id AND a.entry ->> 'customer_id' = p_customer_id::text
                AND CASE a.outcome WHEN 'SUCCEEDED' THEN a.body ELSE a.before_image END IS NOT NULL
              UNION ALL
              SELECT service.redacted(e.before_image::text), 2, e.recorded_at
              FROM audit.entries AS e
              WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id AND e.before_image IS NOT NULL
              UNION ALL
              SELECT r.record, 3, r.redacted_at
              FROM service.redactions AS r
              WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id) AS known
        ORDER BY known.preference, known.at DESC
        LIMIT 1;
        IF NOT FOUND THEN
            PERFORM service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', 404, p_not_found, NULL);
            RETURN NULL;
        END IF;
    END IF;

    INSERT INTO service.redactions AS r (app_id, customer_id, redacted_at, transaction_id, record)
    VALUES (p_app_id, p_customer_id, v_now, pg_current_xact_id(), v_record)
    ON CONFLICT ON CONSTRAINT redactions_pkey DO UPDATE
        SET redacted_at = excluded.redacted_at, transaction_id = excluded.transaction_id, record = excluded.record;

    -- Stored answers: the customer's own, and those of bulk requests that repeat them. Whoever has a finished attempt
    -- locked writes its entry, and is waited for. An unfinished one that is locked waits for the customer: never wait
    -- for that.
    PERFORM
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.outcome IS NOT NULL
      AND (a.entry ->> 'customer_id' = p_customer_id::text
           OR a.entry ->> 'customer_id' IS NULL AND position(p_customer_id::text IN a.body) > 0)
    ORDER BY a.app_id, a.attempt_id
    FOR UPDATE;
    PERFORM service.redact_bulk_answers(p_app_id, p_customer_id);
    PERFORM service.redact_attempts(p_app_id, p_customer_id, p_attempt_id);

    -- The trail, under the lock of its head, so that no entry of the customer slips in between. Entries that came in
    -- while we waited for it have brought their attempts along; those that come later know of the redaction.
    PERFORM service.lock_head(p_app_id);
    PERFORM service.redact_attempts(p_app_id, p_customer_id, p_attempt_id);
    WITH erased AS (
        UPDATE audit.entries AS e
        SET before_image = NULL, reason = NULL, error_message = NULL, subject_salt = NULL
        WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id AND e.subject_salt IS NOT NULL
        RETURNING e.seq)
    SELECT coalesce(array_agg(erased.seq ORDER BY erased.seq), '{}') INTO v_seqs FROM erased;

    -- The entry that accounts for the missing salts stands in the same transaction: the chain is never inexplicable.
    PERFORM service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', 200, v_record, NULL,
        jsonb_build_object('request', jsonb_build_object('redacted_seqs', to_jsonb(v_seqs))));
    PERFORM service.append(jsonb_build_array(
        jsonb_build_object('app_id', p_app_id, 'id', p_attempt_id, 'is_attempt', true)));
    RETURN v_record;
END
$$;
COMMENT ON FUNCTION service.redact IS
    'Erases the personal data of a living or deleted customer everywhere: its row, stored answers, the trail. Finishes the attempt and appends its entry in the same transaction.';

-- Restore --------------------------------------------------------------------------------------------------------

CREATE FUNCTION service.record_deletion(p_app_id uuid, p_customer_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_entries jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object('app_id', a.app_id, 'id', a.attempt_id, 'is_attempt', true)) INTO v_entries
    FROM (SELECT o.app_id, o.attempt_id
          FROM service.attempts AS o
          WHERE o.app_id = p_app_id AND o.entry ->> 'customer_id' = p_customer_id::text
            AND o.entry ->> 'action' = 'customer.delete' AND o.outcome = 'SUCCEEDED' AND o.entry_seq IS NULL
          ORDER BY o.app_id, o.attempt_id
          FOR UPDATE) AS a;
    IF v_entries IS NOT NULL THEN
        PERFORM service.append(v_entries);
    END IF;
END
$$;
COMMENT ON FUNCTION service.record_deletion IS
    'Appends the entry of a customer''s last deletion, should it still be missing, or waits for who is at it: what comes after the deletion must stand behind it in the trail.';

CREATE FUNCTION service.last_deletion(
    p_app_id uuid, p_customer_id uuid, OUT before_image jsonb, OUT deleted_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.before_image, e.recorded_at
    FROM audit.entries AS e
    WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id
      AND e.action = 'customer.delete' AND e.outcome = 'SUCCEEDED'
    ORDER BY e.seq DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION service.last_deletion IS
    'The last successful deletion of a customer, by the trail, in which service.record_deletion has put it: what was deleted, NULL when redacted, and when. No row when there was none.';

-- Bulk -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION service.open_item(
    p_app_id uuid, p_whole_id uuid, p_fence int, p_item_id uuid, p_customer_id uuid, p_idempotency_key uuid,
    p_fingerprint bytea,
    OUT verdict text, OUT fence int, OUT attempt_id uuid, OUT has_entry boolean,
    OUT outcome text, OUT status_code int, OUT body text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_whole service.attempts;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO v_whole
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_whole_id AND a.fence = p_fence AND a.outcome IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the bulk request is no longer held under this fence' USING ERRCODE = 'CD001';
    END IF;
    SELECT o.verdict, o.fence, o.attempt_id, o.has_entry, o.outcome, o.status_code, o.body
    INTO verdict, fence, attempt_id, has_entry, outcome, status_code, body
    FROM service.open_attempt(
        p_app_id, v_whole.key_id, p_item_id, p_idempotency_key, p_fingerprint, v_whole.lease_expires_at, v_whole.ttl,
        v_whole.entry || jsonb_build_object(
            'id', p_item_id, 'action', 'customer.delete', 'customer_id', p_customer_id)) AS o;
END
$$;
COMMENT ON FUNCTION service.open_item IS
    'Opens the attempt of one customer of a bulk request, under the lease of the whole. Its idempotency key derives from the whole''s, so a retry finds what was done.';

CREATE FUNCTION service.check_item(p_app_id uuid, p_customer_id uuid, OUT customer text, OUT deletable boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM service.await_redactions(p_app_id);
    SELECT c.customer, c.deletable INTO customer, deletable
    FROM service.deletion_check(p_app_id, p_customer_id) AS c;
END
$$;
COMMENT ON FUNCTION service.check_item IS
    'What deleting one customer of a bulk request would do. Reads nothing that a redaction under way is about to erase.';

CREATE FUNCTION service.finish_bulk(
    p_app_id uuid, p_attempt_id uuid, p_body text, p_entry jsonb, p_customer_ids uuid[]) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_attempt service.attempts;
BEGIN
    PERFORM service.await_redactions(p_app_id);
    PERFORM service.finish(p_app_id, p_attempt_id, 'SUCCEEDED', 200, p_body, NULL, p_entry);
    SELECT * INTO v_attempt FROM service.attempts AS a WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id;
    -- Somebody may have been redacted since the request arrived.
    PERFORM service.redact_bulk_answers(r.app_id, r.customer_id, p_attempt_id)
    FROM service.redactions AS r
    WHERE r.app_id = p_app_id AND r.customer_id = ANY (p_customer_ids)
      AND r.redacted_at > (v_attempt.entry ->> 'occurred_at')::timestamptz;
    RETURN (SELECT a.body FROM service.attempts AS a WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id);
END
$$;
COMMENT ON FUNCTION service.finish_bulk IS
    'The receipt of a bulk request, without what was redacted while it ran. Returns the answer as it is kept.';

GRANT EXECUTE ON FUNCTION
    service.etag, service.changed_members, service.redact, service.await_redactions, service.record_deletion,
    service.last_deletion, service.open_item, service.check_item, service.finish_bulk
TO :"service";
