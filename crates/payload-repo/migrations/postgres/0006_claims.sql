-- What a claim on a node is known by: a standby that lagged can count the same epoch again, for somebody else.
ALTER TABLE nodes ADD COLUMN claim uuid;
