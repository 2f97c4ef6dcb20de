-- What payloads are to survive soon after their commit.

ALTER TABLE payloads ADD COLUMN write_behind text COLLATE "C";

-- What a starting node has to go on with: those that do not survive it yet.
CREATE INDEX payloads_owing ON payloads (id) WHERE write_behind <> durability AND state = 'ACTIVE';
