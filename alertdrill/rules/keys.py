"""The keys that Prometheus 3 and Alertmanager know, section by section."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROMETHEUS = _words(
    "global runtime alerting rule_files scrape_config_files scrape_configs storage tracing"
    " remote_write remote_read otlp"
)
PROMETHEUS_GLOBAL = _words(
    "scrape_interval scrape_timeout scrape_protocols evaluation_interval rule_query_offset"
    " query_log_file scrape_failure_log_file external_labels body_size_limit sample_limit"
    " target_limit label_limit label_name_length_limit label_value_length_limit"
    " keep_dropped_targets metric_name_validation_scheme metric_name_escaping_scheme"
    " always_scrape_classic_histograms convert_classic_histograms_to_nhcb"
    " scrape_native_histograms extra_scrape_metrics"
)
_HTTP = _words(
    "basic_auth authorization oauth2 bearer_token bearer_token_file tls_config follow_redirects"
    " enable_http2 proxy_url no_proxy proxy_from_environment proxy_connect_header"
    " http_headers"
)
DISCOVERY = frozenset(
    f"{kind}_sd_configs"
    for kind in _words(
        "azure consul digitalocean dns docker dockerswarm ec2 eureka file gce hetzner http ionos"
        " kubernetes kuma lightsail linode marathon nerve nomad openstack ovhcloud puppetdb"
        " scaleway serverset stackit triton uyuni vultr"
    )
) | {"static_configs"}
SCRAPE = (
    _words(
        "job_name honor_labels honor_timestamps track_timestamps_staleness params scrape_interval"
        " scrape_timeout scrape_protocols scrape_fallback_protocol scrape_native_histograms"
        " always_scrape_classic_histograms convert_classic_histograms_to_nhcb"
        " scrape_failure_log_file metrics_path scheme enable_compression body_size_limit"
        " sample_limit target_limit label_limit label_name_length_limit"
        " label_value_length_limit native_histogram_bucket_limit"
        " native_histogram_min_bucket_factor keep_dropped_targets"
        " metric_name_validation_scheme metric_name_escaping_scheme relabel_configs"
        " metric_relabel_configs extra_scrape_metrics"
    )
    | _HTTP
    | DISCOVERY
)
ALERTING = frozenset({"alert_relabel_configs", "alertmanagers"})
ALERTING_ALERTMANAGER = (
    _words("timeout api_version scheme path_prefix sigv4 relabel_configs alert_relabel_configs")
    | _HTTP
    | DISCOVERY
)
STATIC = frozenset({"targets", "labels"})
RULE_FILE = frozenset({"groups"})
GROUP = _words("name interval query_offset limit labels rules")
RULE = _words("record alert expr for keep_firing_for labels annotations")

ALERTMANAGER = _words(
    "global route receivers inhibit_rules templates mute_time_intervals time_intervals tracing"
)
ROUTE = _words(
    "receiver group_by match match_re matchers continue routes group_wait group_interval"
    " repeat_interval mute_time_intervals active_time_intervals"
)
INHIBIT = _words(
    "name source_match source_match_re source_matchers target_match target_match_re"
    " target_matchers equal"
)
_INTEGRATIONS = _words(
    "discord email incidentio jira mattermost msteams msteamsv2 opsgenie pagerduty pushover"
    " rocketchat slack sns telegram victorops webex webhook wechat"
)
RECEIVER = frozenset({"name", *(f"{kind}_configs" for kind in _INTEGRATIONS)})
WEBHOOK = _words("send_resolved http_config url url_file max_alerts timeout payload update_message")
