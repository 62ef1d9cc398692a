// How a node's PostgreSQL is set up: the part of the node's YAML that concerns the server. Filled
// by config/, used by postgres/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cluster/member.h"

namespace pgsteady {

struct Credentials {
  std::string username;
  std::string password;  // may be empty: then the server must trust or peer
};

struct ServerSettings {
  std::string scope;                      // becomes cluster_name
  MemberName name;                        // becomes application_name of its replication
  std::string data_dir;                   // absolute
  std::string bin_dir;                    // where postgres, initdb, ... are; never empty
  std::vector<std::string> listen_hosts;  // of `postgresql.listen`
  HostPort connect;                       // what others are told: `postgresql.connect_address`
  std::uint16_t port = 5432;
  Credentials superuser{"postgres", ""};
  Credentials replication{"replicator", ""};
  Credentials rewind{"", ""};                     // empty name: the superuser does it
  std::map<std::string, std::string> parameters;  // `postgresql.parameters`, values as text
  std::vector<std::string> pg_hba;                // empty: a safe default is made
  std::vector<std::string> pg_ident;
  std::vector<std::string> initdb_options;  // "--encoding=UTF8", from `bootstrap.initdb`
  struct User {  // `bootstrap.users` and the admin of the container contract
    Credentials credentials;
    std::vector<std::string> options;  // createdb, createrole, login, ...
  };
  std::vector<User> users;
  std::string pgpass_path;      // where the password file for libpq tools is written, 0600
  std::string unix_socket_dir;  // absolute; for the agent's own connections
  std::string state_dir;        // outside the data directory: markers, job logs, diverged WAL
};

}  // namespace pgsteady
