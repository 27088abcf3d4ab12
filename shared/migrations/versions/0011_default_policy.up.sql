-- The platform's default policy, version 1: what a merchant that sets nothing gets. Written out in full, so that a
-- recovery in flight keeps its rules when the code's defaults change; a test compares it with Policy.default().

INSERT INTO policies (merchant_id, version, active, document)
VALUES (NULL, 1, true, '{}')
ON CONFLICT (merchant_id, version) DO NOTHING;
