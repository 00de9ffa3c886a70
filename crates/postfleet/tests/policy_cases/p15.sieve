$before = ec_cluster_cache_get "mycache" "x";
if ec_test :is "${before}" "" {
  ec_cluster_cache_set "mycache" "x" "y" "2";
}
ec_cluster_cache_set "mycache" "mykey" "myvalue" "0";
$kept = ec_cluster_cache_get "mycache" "mykey";
$short = ec_cluster_cache_get "mycache" "x";
ec_action 250 "${kept} <${before}> ${short}";
