# There are two monitors, 0 and 1.
$n = ec_ip_connections "2" "32";
ec_action 250 "reached ${n}";
