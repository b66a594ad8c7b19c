#!/bin/sh
# One OpenSearch node on port 9200; ES_JAVA_OPTS as in Elasticsearch's official image.
set -eu
node=/usr/share/elasticsearch/data/node_1
mkdir -p "$node/config"
cat > "$node/config/opensearch.yml" <<YAML
network.host: 0.0.0.0
discovery.type: single-node
cluster.routing.allocation.disk.threshold_enabled: false
YAML
# One collector's thread is enough here. The runner adds a node's number to the port it is given.
exec java -XX:+UseSerialGC ${ES_JAVA_OPTS:--Xms512m -Xmx512m} -cp '/usr/share/elasticsearch/lib/*' \
    org.codelibs.opensearch.runner.OpenSearchRunner \
    -basePath /usr/share/elasticsearch/data -numOfNode 1 -baseHttpPort 9199
