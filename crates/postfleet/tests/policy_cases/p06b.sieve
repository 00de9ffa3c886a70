ec_error_mode "continue";
$n = ec_ip_connections "2" "32";
ec_action 250 "<${n}>";
