-- A table of ten columns.
CREATE TABLE item (
    id       bigint PRIMARY KEY,
    code     text NOT NULL,
    name     text NOT NULL,
    quantity integer NOT NULL,
    amount   numeric(12,2) NOT NULL,
    ratio    double precision,
    at       timestamptz NOT NULL,
    active   boolean NOT NULL,
    note     text,
    tag      uuid
);
