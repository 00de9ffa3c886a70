$x = ec_cluster_cache_get "nosuch" "x";
ec_action 250 "reached";
