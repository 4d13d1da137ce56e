-- Redaction: erases the personal data of a customer, living or deleted, everywhere.
--
-- The entry comes first. redact erases the row and the first stored answers, and finishes the attempt; its entry then
-- declares that the subject data of every earlier entry of the customer is erased; after that erase does so
-- (erasure.sql). Order is decided by locks and by seq, never by a clock.
--
-- Called by the operation RedactCustomer. Locks, in this order: the advisory lock of the app's redactions, the
-- schedule, the customer, attempts of bulk requests by id, the row of service.redactions, the customer's attempts
-- (skipping those that are locked, which may wait for the customer).

CREATE OR REPLACE FUNCTION service.await_redactions(p_app_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_advisory_xact_lock_shared(hashtextextended('redaction ' || p_app_id, 0))
$$;
COMMENT ON FUNCTION service.await_redactions IS
    'Until the end of the transaction no redaction of the app is under way, so that what it reads next is not about to be erased.';

CREATE OR REPLACE FUNCTION service.known_record(p_app_id uuid, p_customer_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT service.redacted(r.record)
         FROM service.redactions AS r
         WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id
           AND NOT EXISTS (SELECT
                           FROM audit.entries AS e
                           WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id
                             AND e.before_image IS NOT NULL AND e.seq > r.entry_seq)),
        (SELECT service.redacted(known.record)
         FROM (SELECT CASE WHEN a.outcome = 'SUCCEEDED' AND service.is_record(a.body) THEN a.body
                           ELSE a.before_image END AS record,
                      1 AS preference, a.finished_at AS at
               FROM service.attempts AS a
               WHERE a.app_id = p_app_id AND a.customer_id = p_customer_id
               UNION ALL
               (SELECT e.before_image::text, 2, e.recorded_at
                FROM audit.entries AS e
                WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id AND e.before_image IS NOT NULL
                ORDER BY e.seq DESC
                LIMIT 1)) AS known
         WHERE known.record IS NOT NULL
         ORDER BY known.preference, known.at DESC
         LIMIT 1),
        (SELECT service.redacted(r.record)
         FROM service.redactions AS r
         WHERE r.app_id = p_app_id AND r.customer_id = p_customer_id),
        -- The trail knows the id, but nothing about the customer.
        (SELECT service.redacted(json_build_object('id', p_customer_id, 'appId', 'app_' || p_app_id)::text)
         WHERE EXISTS (SELECT FROM audit.entries AS e WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id)
            OR EXISTS (SELECT FROM service.attempts AS a
                       WHERE a.app_id = p_app_id AND a.customer_id = p_customer_id AND a.action <> 'customer.redact')))
$$;
COMMENT ON FUNCTION service.known_record IS
    'The redacted record of a customer that has no row any more, as far as receipts, the trail and earlier redactions know it; NULL if none of them knows the id.';

CREATE OR REPLACE FUNCTION service.redact(
    p_app_id uuid, p_attempt_id uuid, p_customer_id uuid, p_batch int, p_entity_tags text[],
    p_not_found text, p_mismatch text, p_held text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_now       timestamptz;
    v_customer  public.customers;
    v_record    text;
    v_erased_to bigint;
    v_left      bigint;
    v_ending    service.ending;
BEGIN
    -- One at a time in an app, and no restore or bulk answer is made meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended('redaction ' || p_app_id, 0));

    -- In the order in which a schedule is changed: before the customer.
    PERFORM
    FROM service.scheduled_deletions AS s
    WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id
    FOR UPDATE;

    -- From here on, every unit of work that is about to look at the customer waits, and finds it redacted.
    SELECT * INTO v_customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id
    -- Not FOR UPDATE: that would wait for payments under way.
    FOR NO KEY UPDATE;
    IF FOUND AND service.etag(service.record(v_customer)) <> ALL (p_entity_tags) THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'MISMATCH', p_mismatch);
    ELSIF service.is_held(p_app_id, p_customer_id) THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'CONFLICT', p_held, service.image(v_customer));
    END IF;
    -- One whose time is over no longer holds, and its reason is personal data.
    DELETE FROM public.legal_holds AS h WHERE h.app_id = p_app_id AND h.customer_id = p_customer_id;
    UPDATE service.scheduled_deletions AS s
    SET reason = NULL
    WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id;
    v_now := clock_timestamp();
    UPDATE public.customers AS c
    SET first_name = '[redacted]', last_name = '', email = NULL, phone_number = '', redacted_at = v_now,
        updated_at = CASE WHEN (c.first_name, c.last_name, c.phone_number) = ('[redacted]', '', '') AND c.email IS NULL
                          THEN c.updated_at ELSE v_now END
    WHERE c.app_id = p_app_id AND c.id = p_customer_id
    RETURNING service.record(c.*) INTO v_record;
    IF NOT FOUND THEN
        v_record := service.known_record(p_app_id, p_customer_id);
        IF v_record IS NULL THEN
            RETURN service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', p_not_found);
        ELSIF service.etag(coalesce(
            (SELECT service.imaged_record(d.before_image) FROM service.last_deletion(p_app_id, p_customer_id) AS d),
            v_record)) <> ALL (p_entity_tags) THEN
            RETURN service.finish(p_app_id, p_attempt_id, 'MISMATCH', p_mismatch);
        END IF;
    END IF;

    -- Stored answers of bulk requests that repeat the customer's; before the row of redactions, which the writer of
    -- entries wants when it holds such an attempt.
    PERFORM service.redact_bulk_answers(p_app_id, p_customer_id);

    INSERT INTO service.redactions AS r (app_id, customer_id, attempt_id, redacted_at, record)
    VALUES (p_app_id, p_customer_id, p_attempt_id, v_now, v_record)
    ON CONFLICT ON CONSTRAINT redactions_pkey DO UPDATE
        SET attempt_id = excluded.attempt_id, redacted_at = excluded.redacted_at, record = excluded.record,
            times = r.times + 1, entry_seq = NULL, is_erased = false
    RETURNING r.erased_to INTO v_erased_to;

    -- The customer's own stored answers, the first of them.
    PERFORM service.redact_attempts(p_app_id, p_customer_id, p_attempt_id, p_batch);

    SELECT count(*) INTO v_left
    FROM (SELECT
          FROM audit.entries AS e
          WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id AND e.seq > v_erased_to
          LIMIT p_batch + 1) AS entries;
    v_ending := CASE WHEN v_left > p_batch THEN 'ACCEPTED' ELSE 'SUCCEEDED' END;
    RETURN service.finish(p_app_id, p_attempt_id, v_ending, v_record);
END
$$;
COMMENT ON FUNCTION service.redact IS
    'Erases the personal data of a living or deleted customer from its row and its stored answers, and decides that the trail loses it too. ACCEPTED when the trail holds more than one batch.';
