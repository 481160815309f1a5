-- Signing in to the owner's page. A session is a signed cookie, good on every
-- node; what is kept here is what a signature cannot say.

-- What all nodes sign with. A new value ends every session.
CREATE TABLE page_session_secret (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  secret bytea NOT NULL CHECK (octet_length(secret) = 32)
);

-- Three random UUIDs carry 366 bits of the server's strong random source.
INSERT INTO page_session_secret (secret)
SELECT sha256(convert_to(
  gen_random_uuid()::text || gen_random_uuid() || gen_random_uuid(), 'UTF8'));

-- Signed out before their time; a row goes when the session would be over.
CREATE TABLE ended_page_sessions (
  session_id uuid PRIMARY KEY,
  expires_at timestamptz NOT NULL
);

-- One-time links: a row goes when its link is used.
CREATE TABLE sign_in_links (
  -- SHA-256 of what stands in the link.
  digest bytea PRIMARY KEY,
  key_id uuid NOT NULL REFERENCES api_keys,
  expires_at timestamptz NOT NULL
);

CREATE TRIGGER page_session_secret_changed
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON page_session_secret
  FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();
CREATE TRIGGER ended_page_sessions_changed
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ended_page_sessions
  FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();
