-- Orders with defects: of every rule that has to be measured some rows are bad, and which ones follows from their number.
CREATE TABLE orders (
    id bigint PRIMARY KEY, sku text, email text, country text, amount numeric(12, 2), quantity integer, status text,
    created timestamptz NOT NULL, updated timestamptz, payload jsonb
);

-- Those with the numbers from first to last, spread evenly over the time from since to until.
CREATE FUNCTION made_orders(first bigint, last bigint, since timestamptz, until timestamptz)
RETURNS TABLE (id bigint, sku text, email text, country text, amount numeric(12, 2), quantity integer, status text,
               created timestamptz, updated timestamptz, payload jsonb)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT n,
           CASE WHEN n % 997 = 0 THEN NULL
                WHEN n % 701 = 0 THEN '  '
                WHEN n % 487 = 0 THEN 'S-' || n
                WHEN n % 853 IN (0, 1, 2) THEN 'SKU-' || lpad((n / 853)::text, 10, '0')
                ELSE 'SKU-' || lpad((n + 1000000000)::text, 10, '0') END,
           CASE WHEN n % 50 = 0 THEN NULL
                WHEN n % 331 = 0 THEN 'nobody at example.com'
                ELSE 'user' || n || '@mail' || n % 20 || '.example.com' END,
           CASE WHEN n % 211 = 0 THEN NULL
                WHEN n % 523 = 0 THEN 'XX'
                ELSE (ARRAY['DE', 'FR', 'IT', 'ES', 'PL', 'NL', 'SE', 'GB', 'US', 'JP'])[1 + n % 10] END,
           CASE WHEN n % 907 = 0 THEN NULL
                WHEN n % 613 = 0 THEN -1
                ELSE (n * 7919 % 1000000)::numeric / 100 END,
           CASE WHEN n % 449 = 0 THEN 0 ELSE 1 + n % 100 END,
           CASE WHEN n % 751 = 0 THEN 'lost' ELSE (ARRAY['new', 'paid', 'sent', 'done'])[1 + n % 4] END,
           made.at,
           CASE WHEN n % 97 = 0 THEN NULL
                WHEN n % 569 = 0 THEN made.at - interval '1 hour'
                ELSE made.at + n % 1000 * interval '1 minute' END,
           CASE WHEN n % 101 = 0 THEN jsonb_build_object('items', n % 5)
                WHEN n % 641 = 0 THEN jsonb_build_object('items', n % 5, 'channel', 'fax')
                ELSE jsonb_build_object('items', n % 5, 'channel', (ARRAY['web', 'shop', 'phone'])[1 + n % 3],
                                        'note', 'order ' || n) END
    FROM generate_series(first, last) n,
         LATERAL (SELECT since + (until - since) * ((n - first)::double precision / (last - first + 1))) made (at);
END;
