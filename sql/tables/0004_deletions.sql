-- The life of a deletion: what keeps one from happening, and what makes one happen later.

CREATE TABLE public.legal_holds (
    app_id      uuid        NOT NULL,
    customer_id uuid        NOT NULL,
    reason      text        NOT NULL,
    until       timestamptz,
    placed_at   timestamptz NOT NULL,
    placed_by   text        NOT NULL,
    CONSTRAINT legal_holds_pkey PRIMARY KEY (app_id, customer_id),
    CONSTRAINT legal_holds_keep_a_customer FOREIGN KEY (app_id, customer_id)
        REFERENCES public.customers (app_id, id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT legal_holds_reason_has_1_to_500_characters CHECK (char_length(reason) BETWEEN 1 AND 500)
);
COMMENT ON TABLE public.legal_holds IS
    'Customers that must be kept, for example for a lawsuit. A hold forbids deletion by its foreign key, and redaction too, until it is released or its time is over.';
COMMENT ON COLUMN public.legal_holds.app_id IS 'The tenant.';
COMMENT ON COLUMN public.legal_holds.customer_id IS 'The customer that is kept; at most one hold each.';
COMMENT ON COLUMN public.legal_holds.reason IS 'Why, as the client says. It may be personal data: a redaction erases it.';
COMMENT ON COLUMN public.legal_holds.until IS 'From when on it no longer holds; NULL for until it is released.';
COMMENT ON COLUMN public.legal_holds.placed_at IS 'When it was placed or last replaced.';
COMMENT ON COLUMN public.legal_holds.placed_by IS 'Name of the API key that did so.';
