#include "config/known_keys.h"

namespace pgsteady::config {

const Keys& known_at_top() {
  static const Keys keys = {"consul", "zookeeper", "exhibitor", "kubernetes", "raft",
                            "citus",  "dcs",       "failsafe",  "multisite"};
  return keys;
}

const Keys& known_in_restapi() {
  static const Keys keys = {"certfile",
                            "keyfile",
                            "keyfile_password",
                            "cafile",
                            "ciphers",
                            "verify_client",
                            "allowlist",
                            "allowlist_include_members",
                            "http_extra_headers",
                            "https_extra_headers",
                            "request_queue_size",
                            "server_tokens"};
  return keys;
}

const Keys& known_in_etcd() {
  static const Keys keys = {"proxy", "srv", "srv_suffix", "use_proxies", "version"};
  return keys;
}

const Keys& known_in_bootstrap() {
  static const Keys keys = {"method", "post_bootstrap", "post_init"};
  return keys;
}

const Keys& known_in_postgresql() {
  static const Keys keys = {"proxy_address",
                            "config_dir",
                            "custom_conf",
                            "callbacks",
                            "create_replica_methods",
                            "create_replica_method",
                            "basebackup",
                            "recovery_conf",
                            "use_unix_socket_repl",
                            "use_pg_rewind",
                            "use_slots",
                            "remove_data_directory_on_rewind_failure",
                            "remove_data_directory_on_diverged_timelines",
                            "replica_method",
                            "pg_ctl_timeout",
                            "pre_promote",
                            "before_stop",
                            "bin_name",
                            "database"};
  return keys;
}

const Keys& known_in_credentials() {
  static const Keys keys = {"sslmode",    "sslkey",    "sslcert",         "sslrootcert",
                            "sslcrl",     "sslcrldir", "sslpassword",     "sslnegotiation",
                            "gssencmode", "options",   "channel_binding", "krbsrvname"};
  return keys;
}

const Keys& known_in_log() {
  static const Keys keys = {"type",          "format",
                            "dateformat",    "max_queue_size",
                            "dir",           "mode",
                            "file_num",      "file_size",
                            "loggers",       "traceback_level",
                            "static_fields", "deduplicate_heartbeat_logs"};
  return keys;
}

const Keys& known_in_watchdog() {
  static const Keys keys = {};
  return keys;
}

}  // namespace pgsteady::config
