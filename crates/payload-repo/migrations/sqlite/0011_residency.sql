-- What keeps payloads in their tiers: pins, and what their policies say.

-- Until when a replica is pinned; the largest number there is: until somebody unpins it.
ALTER TABLE replicas ADD COLUMN pinned_until INTEGER;

-- What a starting node must know of.
CREATE INDEX replicas_pinned ON replicas (node, payload) WHERE pinned_until IS NOT NULL;

ALTER TABLE payloads ADD COLUMN min_tier TEXT;
ALTER TABLE payloads ADD COLUMN min_residency_ns INTEGER;
