-- A batch of demo customers with their records, in one statement: foreign keys are checked when it ends, so its parts
-- may come in any order. What looks random is SHA-256 of seed, run and row number, so the same seed makes the same data
-- on every server. Run by `customerd seed` with
--     $1 app, $2 seed, $3 run, $4 and $5 first and last number of the batch, $6 how many customers of all $7 have records
--     that forbid deletion, $8 first names, $9 last names, $10 and $11 both as email addresses have them, $12 the region of
--     each of a hundred customers, $13 phone numbers and $14 currencies by region.
WITH drawn AS MATERIALIZED (
    -- Bytes that look random, and every (customers/blocked)th customer blocked, exactly.
    SELECT i,
           sha256(convert_to(concat_ws(':', 'customer', $1::text, $2::text, $3::text, i), 'UTF8')) AS h,
           i * $6::bigint / $7::bigint AS nth_blocked,
           i * $6::bigint / $7::bigint > (i - 1) * $6::bigint / $7::bigint AS is_blocked
    FROM generate_series($4::bigint, $5::bigint) AS i
),
sorted AS MATERIALIZED (
    SELECT d.*,
           ($12::int[])[1 + (get_byte(h, 0) * 256 + get_byte(h, 1)) % 100] AS region,
           (get_byte(h, 6) * 256 + get_byte(h, 7)) % 1000 AS permille,
           timestamptz '2021-01-01 00:00:00+00'
               + make_interval(secs => trunc(141900000.0::numeric
                   * (get_byte(h, 10) * 65536 + get_byte(h, 11) * 256 + get_byte(h, 12)) / 16777216)::int)
               + make_interval(secs => (get_byte(h, 29) * 3906 + get_byte(h, 30) * 15) / 1000000.0)
               AS created_at
    FROM drawn AS d
),
person AS MATERIALIZED (
    SELECT s.i, s.h, s.nth_blocked, s.is_blocked, s.created_at,
           overlay(overlay(encode(substr(sha256(h), 1, 16), 'hex')
                           PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
           ($8::text[])[1 + s.region * 16 + get_byte(h, 2) % 16] AS first_name,
           ($9::text[])[1 + s.region * 16 + get_byte(h, 3) % 16] AS last_name,
           ($10::text[])[1 + s.region * 16 + get_byte(h, 2) % 16] AS first_ascii,
           ($11::text[])[1 + s.region * 16 + get_byte(h, 3) % 16] AS last_ascii,
           regexp_replace(regexp_replace(regexp_replace(regexp_replace(($13::text[])[1 + s.region],
               '#', (get_byte(h, 21) % 10)::text),
               '#', (get_byte(h, 22) % 10)::text),
               '#', (get_byte(h, 23) % 10)::text),
               '#', (get_byte(h, 24) % 10)::text) AS phone_number,
           ($14::text[])[1 + s.region] AS currency,
           CASE WHEN permille < 620 THEN 'Individual'
                WHEN permille < 760 THEN 'Small Business'
                WHEN permille < 840 THEN 'Startup'
                WHEN permille < 910 THEN 'Medium Business'
                WHEN permille < 950 THEN 'Enterprise'
                WHEN permille < 980 THEN 'Non-Profit'
                ELSE 'Government' END AS customer_type,
           -- The logarithm of what they usually spend.
           CASE WHEN permille < 620 THEN 3.9
                WHEN permille < 760 THEN 5.8
                WHEN permille < 840 THEN 5.2
                WHEN permille < 910 THEN 7.0
                WHEN permille < 950 THEN 8.6
                WHEN permille < 980 THEN 5.0
                ELSE 7.8 END AS usual,
           CASE WHEN get_byte(h, 17) >= 38
                THEN s.created_at + (timestamptz '2025-10-01 00:00:00+00' - s.created_at)
                    * sqrt((get_byte(h, 18) * 256 + get_byte(h, 19)) / 65536.0::float8)
           END AS last_purchase_date,
           CASE WHEN NOT s.is_blocked OR s.nth_blocked % 10 IN (7, 8, 9) THEN 0
                ELSE 1 + get_byte(h, 25) % 4 END AS invoices,
           CASE WHEN NOT s.is_blocked THEN 0
                WHEN s.nth_blocked % 10 = 7 THEN 1 + get_byte(h, 26) % 2
                WHEN s.nth_blocked % 10 IN (8, 9) THEN 0
                ELSE (get_byte(h, 26) < 102)::int END AS payment_links,
           CASE WHEN NOT s.is_blocked THEN 0
                WHEN s.nth_blocked % 10 = 8 THEN 1 + get_byte(h, 27) % 4
                WHEN s.nth_blocked % 10 IN (7, 9) THEN 0
                WHEN get_byte(h, 27) < 154 THEN 1 + get_byte(h, 27) % 4
                ELSE 0 END AS transactions,
           CASE WHEN NOT s.is_blocked THEN 0
                WHEN s.nth_blocked % 10 = 9 THEN 1
                WHEN s.nth_blocked % 10 IN (7, 8) THEN 0
                ELSE (get_byte(h, 28) < 31)::int END AS liquidation_addresses
    FROM sorted AS s
),
new_customers AS (
    INSERT INTO public.customers
        (app_id, id, first_name, last_name, email, phone_number, status, customer_type, last_spent,
         last_purchase_date, created_at, updated_at)
    SELECT $1::uuid,
           p.id,
           p.first_name,
           p.last_name,
           CASE WHEN get_byte(h, 20) >= 18
                THEN p.first_ascii
                    || (ARRAY['.', '.', '_', ''])[1 + get_byte(h, 4) % 4]
                    || p.last_ascii
                    || CASE WHEN get_byte(h, 4) < 150 THEN (get_byte(h, 5) * 4 % 1000)::text ELSE '' END
                    || '@'
                    || CASE WHEN p.customer_type = 'Individual'
                            THEN (ARRAY['example.com', 'example.com', 'mail.example.org', 'example.net',
                                        'post.example'])[1 + get_byte(h, 5) % 5]
                            ELSE p.last_ascii || '.example' END
           END,
           p.phone_number,
           CASE WHEN get_byte(h, 9) < 225 THEN 'ACTIVE'
                WHEN get_byte(h, 9) < 246 THEN 'DEACTIVATED'
                ELSE 'BLACKLISTED' END,
           p.customer_type,
           -- Log-normal, by Box and Muller.
           CASE WHEN p.last_purchase_date IS NOT NULL
                THEN round(exp(p.usual + 1.1
                    * sqrt(-2 * ln((get_byte(h, 13) * 256 + get_byte(h, 14) + 1) / 65537.0::float8))
                    * cos(2 * pi() * (get_byte(h, 15) * 256 + get_byte(h, 16)) / 65536.0::float8)
                    )::numeric, 2)
           END,
           p.last_purchase_date,
           p.created_at,
           coalesce(p.last_purchase_date, p.created_at)
               + make_interval(secs => get_byte(h, 31) * 1013)
    FROM person AS p
    RETURNING 1
),
new_invoices AS (
    INSERT INTO public.invoices
        (app_id, id, customer_id, invoice_number, status, amount, currency, due_date, created_at,
         updated_at)
    SELECT $1::uuid, d.id, p.id,
           CASE WHEN d.status <> 'draft'
                THEN 'INV-' || extract(year FROM d.at AT TIME ZONE 'UTC')
                    || '-' || lpad((p.i * 10 + d.j)::text, 6, '0') END,
           d.status, d.amount, p.currency,
           CASE WHEN d.status <> 'draft' THEN (d.at AT TIME ZONE 'UTC')::date + 30 END,
           d.at,
           d.at + CASE d.status WHEN 'paid' THEN interval '12 days' ELSE interval '0' END
    FROM person AS p
    CROSS JOIN LATERAL (
        SELECT g.j,
               overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
               (ARRAY['draft', 'pending', 'paid'])[1 + (p.nth_blocked + g.j) % 3] AS status,
               round(exp(p.usual + get_byte(g.h, 20) / 100.0 - 1.28)::numeric
                     + get_byte(g.h, 21) / 100.0, 2) AS amount,
               p.created_at + (timestamptz '2025-09-01 00:00:00+00' - p.created_at)
                   * (get_byte(g.h, 18) / 256.0::float8) AS at
        FROM (SELECT j, sha256(p.h || convert_to('invoice ' || j, 'UTF8')) AS h
              FROM generate_series(1, p.invoices) AS j
              OFFSET 0) AS g
        OFFSET 0) AS d
    WHERE p.is_blocked
    RETURNING 1
),
new_payment_links AS (
    INSERT INTO public.payment_links
        (app_id, id, customer_id, url, status, amount, currency, expires_at, created_at, updated_at)
    SELECT $1::uuid, d.id, p.id, 'https://pay.example.com/l/' || d.slug, d.status, d.amount, p.currency,
           CASE WHEN d.status = 'active' THEN NULL ELSE d.at + interval '14 days' END, d.at, d.at
    FROM person AS p
    CROSS JOIN LATERAL (
        SELECT overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
               encode(substr(g.h, 20, 8), 'hex') AS slug,
               (ARRAY['active', 'active', 'paid', 'expired'])[1 + get_byte(g.h, 17) % 4] AS status,
               round(exp(p.usual + get_byte(g.h, 16) / 100.0 - 1.28)::numeric, 2) AS amount,
               p.created_at + (timestamptz '2025-09-01 00:00:00+00' - p.created_at)
                   * (get_byte(g.h, 18) / 256.0::float8) AS at
        FROM (SELECT sha256(p.h || convert_to('payment link ' || j, 'UTF8')) AS h
              FROM generate_series(1, p.payment_links) AS j
              OFFSET 0) AS g
        OFFSET 0) AS d
    WHERE p.is_blocked
    RETURNING 1
),
new_transactions AS (
    INSERT INTO public.transactions
        (app_id, id, customer_id, kind, status, amount, currency, occurred_at, created_at)
    SELECT $1::uuid, d.id, p.id, d.kind, d.status,
           CASE d.kind WHEN 'payment' THEN d.amount ELSE -d.amount END, p.currency,
           d.at, d.at + interval '1.5 seconds'
    FROM person AS p
    CROSS JOIN LATERAL (
        SELECT overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
               (ARRAY['payment', 'payment', 'payment', 'refund', 'payout'])[1 + get_byte(g.h, 17) % 5]
                   AS kind,
               CASE WHEN get_byte(g.h, 19) < 235 THEN 'settled'
                    WHEN get_byte(g.h, 19) < 248 THEN 'pending'
                    ELSE 'failed' END AS status,
               round(exp(p.usual + get_byte(g.h, 16) / 100.0 - 1.28)::numeric, 2) AS amount,
               p.created_at + (timestamptz '2025-10-01 00:00:00+00' - p.created_at)
                   * (get_byte(g.h, 18) / 256.0::float8) AS at
        FROM (SELECT sha256(p.h || convert_to('transaction ' || j, 'UTF8')) AS h
              FROM generate_series(1, p.transactions) AS j
              OFFSET 0) AS g
        OFFSET 0) AS d
    WHERE p.is_blocked
    RETURNING 1
),
new_addresses AS (
    INSERT INTO public.liquidation_addresses
        (app_id, id, customer_id, chain, currency, address, created_at, updated_at)
    SELECT $1::uuid,
           overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid,
           p.id,
           (ARRAY['ethereum', 'polygon', 'base', 'arbitrum'])[1 + get_byte(g.h, 17) % 4],
           (ARRAY['usdc', 'usdt', 'eurc'])[1 + get_byte(g.h, 18) % 3],
           '0x' || encode(substr(g.h, 13, 20), 'hex'),
           p.created_at + interval '1 hour',
           p.created_at + interval '1 hour'
    FROM person AS p
    CROSS JOIN LATERAL (
        SELECT sha256(p.h || convert_to('liquidation address ' || j, 'UTF8')) AS h
        FROM generate_series(1, p.liquidation_addresses) AS j
        OFFSET 0) AS g
    WHERE p.is_blocked
    RETURNING 1
)
SELECT (SELECT count(*) FROM new_customers),
       (SELECT count(*) FROM new_invoices),
       (SELECT count(*) FROM new_payment_links),
       (SELECT count(*) FROM new_transactions),
       (SELECT count(*) FROM new_addresses)
