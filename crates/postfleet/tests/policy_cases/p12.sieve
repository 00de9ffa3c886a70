# More than ten runs of one user are too many; the count is forgotten when there was none for a while.
$user = vctx_conn_get "auth_user";
ec_gauge_cache_init "cache1" 10 2;
ec_gauge_cache_inc "cache1" "${user}";
$test = ec_gauge_cache_get "cache1" "${user}";
if ec_test :value "gt" :comparator "i;ascii-numeric""${test}" "10" {
  ec_action "550" "Too much spamming";
}
ec_action 250 "${user} ${test}";
