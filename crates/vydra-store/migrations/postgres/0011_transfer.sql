-- All rows of another database can be written here in one transaction. A key names the one that replaced it, which comes later
-- then; whatever else a row refers to comes before it.
ALTER TABLE api_keys ALTER CONSTRAINT api_keys_origin_id_fkey DEFERRABLE;
ALTER TABLE api_keys ALTER CONSTRAINT api_keys_replaced_by_fkey DEFERRABLE;
