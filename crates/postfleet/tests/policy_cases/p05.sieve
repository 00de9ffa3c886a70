# Nobody shares `connect`: the number of this node, and a warning when the configuration is loaded.
$h = hash_create;
hash_set $h "period_end" 1;
$own = ec_ip_connections $h;
$all = ec_ip_connections_cluster $h;
ec_action 250 "${own} ${all}";
