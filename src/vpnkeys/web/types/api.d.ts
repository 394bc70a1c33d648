// The API's answers and request bodies that the dashboard uses. tests/api/test_page_types.py compares every route and every
// property with the server's OpenAPI document; it reads this file as text: one property on each line, no nested braces.

declare namespace Api {
  type Scope = "read" | "keys" | "admin";
  type Status = "active" | "disabled" | "expired" | "limited";
  type Window = string;
  type Step = "hour" | "day";
  type Outcome = "done" | "taken_back" | "failed";
  type Kind = "key.created" | "key.changed" | "key.deleted" | "key.limit_near" | "key.limited" | "key.expired" | "key.active" | "traffic.gap" | "drift.found" | "node.silent" | "node.back" | "node.lost" | "ping";
  type NodeState = "joining" | "up" | "silent" | "drained" | "lost";

  // The dashboard receives "/health" and "/api/traffic" as events; they have the same shape.
  interface GetAnswers {
    "/health": Health;
    "/api/keys": Key[];
    [keyConfig: `/api/keys/${string}/config`]: KeyConfig;
    [keyHistory: `/api/keys/${string}/traffic/history`]: KeyHistory;
    [keySubscription: `/api/keys/${string}/subscription`]: Subscription;
    "/api/traffic": Traffic;
    "/api/traffic/history": TotalHistory;
    "/api/system/ports": Ports;
    "/api/system/ports/status": PortsStatus;
    "/api/system/ports/plan": PortsPlan;
    "/api/system/xray/validate-sync": SyncStatus;
    "/api/system/plan": RepairPlan;
    "/api/system/targets": Targets;
    "/api/system/overview": Overview;
    "/api/nodes": Node[];
    "/api/tokens": Token[];
    "/api/webhooks": Webhook[];
    [deliveries: `/api/webhooks/${string}/deliveries`]: Delivery[];
    "/api/audit": AuditRecord[];
    "/api/backups": Backup[];
    "/ui/session": Session;
  }

  // `unknown`: the dashboard looks at nothing of the answer.
  interface PostAnswers {
    "/api/keys": MadeKey;
    "/api/keys/bulk": MadeKey[];
    "/api/keys/bulk/delete": unknown;
    "/api/keys/bulk/extend": Key[];
    [keyTest: `/api/keys/${string}/test`]: KeyTest;
    [keyRotation: `/api/keys/${string}/rotate`]: KeyConfig;
    [keyReset: `/api/keys/${string}/traffic/reset`]: unknown;
    [keySubscription: `/api/keys/${string}/subscription`]: NewSubscription;
    "/api/system/sync-config": unknown;
    "/api/system/verify-reality": unknown;
    "/api/system/xray/sync-config": unknown;
    "/api/system/fix-reality-keys": unknown;
    "/api/system/ports/reset": unknown;
    "/api/tokens": CreatedToken;
    [rotation: `/api/tokens/${string}/rotate`]: CreatedToken;
    "/api/webhooks": CreatedWebhook;
    [webhookTest: `/api/webhooks/${string}/test`]: WebhookTest;
    "/api/backups": Backup;
    "/api/nodes": NodeMade;
    [nodeMove: `/api/nodes/${string}/move`]: NodeMoved;
    [nodeReplacement: `/api/nodes/${string}/replace`]: NodeMade;
    "/ui/session": Session;
  }

  interface PatchAnswers {
    [node: `/api/nodes/${string}`]: Node;
    [key: `/api/keys/${string}`]: Key;
    [webhook: `/api/webhooks/${string}`]: Webhook;
  }

  interface DeleteAnswers {
    [node: `/api/nodes/${string}`]: unknown;
    [key: `/api/keys/${string}`]: unknown;
    [keySubscription: `/api/keys/${string}/subscription`]: unknown;
    [token: `/api/tokens/${string}`]: unknown;
    [webhook: `/api/webhooks/${string}`]: unknown;
    "/ui/session": unknown;
  }

  interface PostBodies {
    "/api/keys": NewKey;
    "/api/keys/bulk": NewKeys;
    "/api/keys/bulk/delete": KeyIds;
    "/api/keys/bulk/extend": Extension;
    [keyRotation: `/api/keys/${string}/rotate`]: KeyRotation;
    "/api/tokens": NewToken;
    "/api/nodes": NewNode;
    [nodeMove: `/api/nodes/${string}/move`]: NodeMove;
    "/api/webhooks": NewWebhook;
    "/ui/session": SignIn;
  }

  interface PatchBodies {
    [node: `/api/nodes/${string}`]: NodeChange;
    [key: `/api/keys/${string}`]: KeyChange;
    [webhook: `/api/webhooks/${string}`]: WebhookChange;
  }

  interface Health {
    status: "healthy" | "degraded" | "unhealthy";
    problems: HealthProblem[];
    timestamp: number;
    version: "2.3.4";
    service_version: string;
    services: ServiceStates;
    uptime_seconds: number;
    connection_cut: "available" | "unavailable";
    udp_full_cone: "available" | "unavailable";
    server_names_ready: number;
  }

  interface HealthProblem {
    code: string;
    since: number;
    detail: string;
  }

  interface ServiceStates {
    api: "running";
    xray: "running" | "down" | "absent";
    database: "ok" | "down";
  }

  interface Key {
    id: string;
    name: string;
    uuid: string;
    created_at: string;
    is_active: boolean;
    port: number;
    short_id: string;
    sni: string;
    status: Status;
    note: string;
    expires_at: string | null;
    traffic_limit_bytes: number | null;
    traffic_limit_window: Window;
    max_devices: number | null;
    speed_limit_mbps: number | null;
    fingerprint: string | null;
    expires_after_s: number | null;
    node: string;
    used_in_window_bytes: number | null;
    remaining_bytes: number | null;
    resets_at: string | null;
  }
  interface MadeKey {
    id: string;
    name: string;
    uuid: string;
    created_at: string;
    is_active: boolean;
    port: number;
    short_id: string;
    sni: string;
    status: Status;
    note: string;
    expires_at: string | null;
    traffic_limit_bytes: number | null;
    traffic_limit_window: Window;
    max_devices: number | null;
    speed_limit_mbps: number | null;
    fingerprint: string | null;
    expires_after_s: number | null;
    node: string;
    used_in_window_bytes: number | null;
    remaining_bytes: number | null;
    resets_at: string | null;
    ignored_fields: string[];
  }

  type Fingerprint = "chrome" | "firefox" | "safari" | "edge" | "ios" | "random" | "randomized" | "qq" | null;
  interface KeyChange {
    is_active?: boolean;
    note?: string;
    expires_at?: string | null;
    expires_after_s?: number | null;
    traffic_limit_bytes?: number | null;
    traffic_limit_window?: Window;
    max_devices?: number | null;
    speed_limit_mbps?: number | null;
    name?: string;
    fingerprint?: Fingerprint;
    port?: number | null;
  }

  interface NewKey {
    is_active?: boolean;
    note?: string;
    expires_at?: string | null;
    expires_after_s?: number | null;
    traffic_limit_bytes?: number | null;
    traffic_limit_window?: Window;
    max_devices?: number | null;
    speed_limit_mbps?: number | null;
    name: string;
    fingerprint?: Fingerprint;
    uuid?: string | null;
    short_id?: string | null;
    sni?: string | null;
    port?: number | null;
    node?: string | number | null;
    group?: string | null;
  }

  interface Node {
    id: number;
    name: string;
    group: string;
    address: string;
    state: NodeState;
    port_range: string | null;
    max_keys: number | null;
    weight: number;
    keys: number;
    seen_at: string | null;
    applied: number | null;
    desired: number;
    lag_s: number;
    version: string;
    xray_version: string;
    names_ready: number;
    places: number | null;
    traffic_bytes: number;
    failed: Record<string, string>;
    cpu_share: number | null;
    clock_ahead_s: number | null;
    public_key: string;
  }

  interface NodeMade {
    node: Node;
    join_command: string;
    join_token: string;
    expires_at: string;
  }

  interface NodeMove {
    to?: string | number | null;
  }

  interface KeyPlace {
    node: string;
    port: number;
    link: string;
  }

  interface KeyMoved {
    key_id: string;
    uuid: string;
    name: string;
    old: KeyPlace;
    new: KeyPlace;
  }

  interface KeyNotMoved {
    key_id: string;
    name: string;
    code: string;
    detail: string;
  }

  interface NodeMoved {
    node: string;
    moved: KeyMoved[];
    failed: KeyNotMoved[];
    has_stopped: boolean;
  }

  interface NewNode {
    name: string;
    group?: string;
    address?: string;
    port_range?: string | null;
    max_keys?: number | null;
    weight?: number;
  }

  interface NodeChange {
    name?: string;
    group?: string;
    address?: string;
    max_keys?: number | null;
    weight?: number;
    state?: "up" | "drained" | "lost";
  }

  interface NewKeys {
    keys: NewKey[];
  }

  interface KeyIds {
    ids: string[];
  }

  interface Extension {
    ids: string[];
    days: number;
  }

  interface KeyRotation {
    uuid?: boolean;
    short_id?: boolean;
    sni?: boolean;
  }

  interface KeyConfig {
    key: Key;
    client_config: string;
    vless_url: string;
    short_id: string;
  }

  interface KeyTest {
    key_id: string;
    works: boolean;
    handshake_ms: number | null;
    first_byte_ms: number | null;
    bytes_received: number;
    counted: boolean;
    egress: Egress;
    detail: string;
    code: string;
  }

  interface Egress {
    works: boolean | null;
    detail: string;
  }

  interface Subscription {
    key_id: string;
    exists: boolean;
    created_at: string | null;
  }

  interface NewSubscription {
    key_id: string;
    url: string;
    created_at: string;
    self_signed: boolean;
  }

  interface Traffic {
    timestamp: number;
    total_bytes: number;
    keys: KeyTraffic[];
  }

  interface KeyTraffic {
    key_id: string;
    total_bytes: number;
    devices: number | null;
    last_seen: string | null;
    used_in_window_bytes: number | null;
    remaining_bytes: number | null;
    resets_at: string | null;
  }

  interface KeyHistory {
    key_id: string;
    key_uuid: string;
    step: Step;
    from: string;
    to: string;
    points: Point[];
  }

  interface TotalHistory {
    step: Step;
    from: string;
    to: string;
    points: Point[];
  }

  interface Point {
    time: string;
    up_bytes: number;
    down_bytes: number;
  }

  interface Ports {
    port_assignments: PortAssignments;
    used_ports: number;
    available_ports: number;
    max_ports: number;
    port_range: string;
    timestamp: number;
    nodes: NodePorts[];
  }

  interface PortAssignments {
    used_ports: Record<string, UsedPort>;
    port_assignments: Record<string, AssignedPort>;
    created_at: string | null;
    last_updated: string | null;
  }

  interface UsedPort {
    uuid: string;
    key_id: string;
    key_name: string;
    assigned_at: string;
    is_active: boolean;
  }

  interface AssignedPort {
    port: number;
    key_id: string;
    key_name: string;
    assigned_at: string;
  }

  interface PortsStatus {
    validation: PortValidation;
    timestamp: number;
    nodes: NodeCheck[];
  }

  interface PortValidation {
    valid: boolean;
    issues: string[];
    total_assignments: number;
    total_used_ports: number;
  }

  interface PortsPlan {
    changed: PortMove[];
    timestamp: number;
    nodes: NodePart[];
  }

  interface NodePart {
    node: string;
    state: NodeState;
  }

  interface NodeSync {
    node: string;
    state: NodeState;
    synchronized: boolean;
  }

  interface NodePorts {
    node: string;
    state: NodeState;
    used_ports: number;
    available_ports: number;
    max_ports: number;
    port_range: string;
  }

  interface NodeCheck {
    node: string;
    state: NodeState;
    valid: boolean;
  }

  interface PortMove {
    key_id: string;
    uuid: string;
    name: string;
    old_port: number;
    new_port: number;
  }

  interface SyncStatus {
    validation: Validation;
    timestamp: number;
    nodes: NodeSync[];
  }

  interface Validation {
    synced: boolean;
    synchronized: boolean;
    uuid_synced: boolean;
    short_id_synced: boolean;
    keys_count: number;
    config_count: number;
    total_keys: number;
    total_config_clients: number;
    key_uuids: string[];
    config_uuids: string[];
    missing_in_config: string[];
    extra_in_config: string[];
    short_id_mismatches: ShortIdMismatch[];
    short_id_mismatches_count: number;
    config: Comparison;
    runtime: Comparison;
    problem: string;
  }

  interface ShortIdMismatch {
    uuid: string;
    name: string;
    db_short_id: string;
    config_short_id: string;
  }

  interface Comparison {
    synced: boolean;
    missing: string[];
    extra: string[];
    different: string[];
    settings: Record<string, string[]>;
    reachable: boolean;
  }

  interface RepairPlan {
    in_sync: boolean;
    running: boolean;
    file: PlannedFile;
    remove: PlannedInbound[];
    add: PlannedInbound[];
    cut: number[];
    timestamp: number;
    nodes: NodePart[];
  }

  interface PlannedFile {
    rewrite: boolean;
    problem: string;
  }

  interface PlannedInbound {
    tag: string;
    port: number | null;
    key_id: string;
  }

  interface Overview {
    timestamp: number;
    version: string;
    xray_version: string;
    uptime_seconds: number;
    server_address: string;
    certificate_expires_at: string | null;
    newest_backup_at: string | null;
    host: HostLoad;
    online: OnlineNow | null;
    recent: Moment[];
    nodes: NodePart[];
  }

  interface HostLoad {
    cpu_percent: number | null;
    cores: number;
    memory_bytes: number | null;
    memory_free_bytes: number | null;
    disk_bytes: number;
    disk_free_bytes: number;
  }

  interface OnlineNow {
    keys: number;
    devices: number;
  }

  interface Moment {
    time: string;
    up_rate: number;
    down_rate: number;
    cpu_percent: number | null;
  }

  interface Targets {
    targets: Target[];
    timestamp: number;
    nodes: NodePart[];
  }

  interface Target {
    server_name: string;
    target: string;
    usable: boolean;
    problems: string[];
    warnings: string[];
    active_keys: number;
    affected_keys: AffectedKey[];
  }

  interface AffectedKey {
    key_id: string;
    name: string;
  }

  interface Token {
    id: string;
    name: string;
    prefix: string;
    scope: Scope;
    is_valid: boolean;
    created_at: string;
    expires_at: string | null;
    revoked_at: string | null;
    last_used_at: string | null;
  }

  interface CreatedToken {
    id: string;
    name: string;
    prefix: string;
    scope: Scope;
    is_valid: boolean;
    created_at: string;
    expires_at: string | null;
    revoked_at: string | null;
    last_used_at: string | null;
    token: string;
  }

  interface NewToken {
    name: string;
    scope: Scope;
    expires_at?: string | null;
  }

  interface Webhook {
    id: string;
    url: string;
    events: Kind[];
    is_active: boolean;
    created_at: string;
  }

  interface CreatedWebhook {
    id: string;
    url: string;
    events: Kind[];
    is_active: boolean;
    created_at: string;
    secret: string;
  }

  interface NewWebhook {
    url: string;
    events?: Kind[];
  }

  interface WebhookChange {
    url?: string | null;
    events?: Kind[] | null;
    is_active?: boolean | null;
  }

  interface WebhookTest {
    event_id: string;
    delivered: boolean;
    status: number | null;
    last_error: string | null;
    duration_ms: number;
  }

  interface Delivery {
    id: string;
    event: Kind;
    created_at: string;
    attempts: number;
    delivered_at: string | null;
    next_try_at: string | null;
    last_error: string | null;
  }

  interface AuditRecord {
    id: number;
    at: string;
    actor: string;
    origin: string;
    request_id: string;
    action: string;
    subject: string;
    before: Record<string, unknown>;
    after: Record<string, unknown>;
    outcome: Outcome;
    detail: string;
  }

  interface Backup {
    name: string;
    size_bytes: number;
    created_at: string;
  }

  interface Session {
    csrf: string;
    id: string;
    name: string;
    scope: Scope;
  }

  interface SignIn {
    token: string;
  }
}
