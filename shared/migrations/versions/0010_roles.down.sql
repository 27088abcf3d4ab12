-- The grants of this database go. The roles stay while another database of the server still grants them something.
DO $$
DECLARE
    service_role text;
BEGIN
    FOREACH service_role IN ARRAY ARRAY['citadel_ingress', 'citadel_worker', 'citadel_auth', 'citadel_ledger'] LOOP
        BEGIN
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', service_role);
            EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM %I', service_role);
            EXECUTE format('DROP ROLE %I', service_role);
        EXCEPTION
            WHEN dependent_objects_still_exist OR undefined_object OR object_in_use THEN NULL;
        END;
    END LOOP;
END $$;
