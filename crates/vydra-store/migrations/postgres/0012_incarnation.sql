-- Emptied by Postgres itself whenever it recovers from a crash, and on a standby that takes over. So the word that stands here tells
-- whether the server that answers is the one that was asked to commit: after a crash the number of a transaction that was lost may
-- be given to another one.
CREATE UNLOGGED TABLE incarnation (
    one  BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
    word TEXT NOT NULL
);
