ec_gauge_cache_init "two" 2 300;
ec_gauge_cache_inc "two" "k1";
ec_gauge_cache_inc "two" "k2";
ec_gauge_cache_inc "two" "k1";
ec_gauge_cache_inc "two" "k3";
$one = ec_gauge_cache_get "two" "k1";
$two = ec_gauge_cache_get "two" "k2";
$three = ec_gauge_cache_get "two" "k3";
ec_action 250 "${one} ${two} ${three}";
