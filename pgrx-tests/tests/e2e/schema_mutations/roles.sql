CREATE ROLE app_owner;
CREATE ROLE app_reader;
CREATE ROLE app_writer;
CREATE ROLE app_transient;
CREATE ROLE app_user LOGIN PASSWORD 'app_user';
GRANT opdb_reader TO app_user;
