-- What became of the anomalies: three views over the tables that the sample loads into DuckDB and Postgres keep.
--
--   cloudlock_threats_current            each anomaly once, as it was last read
--   cloudlock_threats_time_to_dismissal  how long anomalies wait until somebody dismisses them, by week and risk
--   cloudlock_threats_open_by_day        how many were open at the end of each UTC day
--
-- The text is the same for both databases, and may run again at any time. Run it once, by hand or as a task of a DAG in
-- the folder above:
--
--   SQLExecuteQueryOperator(
--       task_id="history", conn_id="postgres_default", sql="sql/cloudlock_threats_history.sql",
--       hook_params={"options": '-c search_path="{{ params.schema }}"'},
--   )
--   DuckDBExecuteQueryOperator(
--       task_id="history", database="{{ params.warehouse }}", sql="sql/cloudlock_threats_history.sql",
--   )
--
-- Other warehouses have other words for some of it, such as "at time zone": sqlglot translates them.
--
-- What it rests on, of Cloudlock's documentation: an anomaly is "Active or Dismissed" (its sample response writes
-- ACTIVE), and a dismissed one may have a dismissed_at. Nothing says that it always does, or that there will never be
-- a third status. What cannot be told is therefore counted as unclear, and never guessed.
--
-- What it cannot see: a dismissal after the day of the anomaly was read for the last time (refresh_days), and that
-- Cloudlock no longer has an anomaly: the lake keeps it as it was. All instants are compared as instants, and all days
-- are UTC, whatever the time zone of the session.


-- Each anomaly once. It is in cloudlock_threats twice when Cloudlock changed its creation time and both days were
-- read: what was updated last counts.
--
--   state               active or dismissed, other for every status that Cloudlock does not document
--   opened_at           when it was created: created_at, or detected_at where there is none, by which its day is chosen
--   closed_at           when it was dismissed, null when it is not, or when there is no dismissed_at that makes sense
--   hours_to_dismissal  from opened_at to closed_at
--   and all columns of cloudlock_threats as Cloudlock wrote them.
create or replace view cloudlock_threats_current as
with versions as (
    select
        threats.*,
        coalesce(created_at, detected_at) as opened_at,
        -- not lower(): in Turkish that of I is no i
        case translate(status, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')
            when 'ACTIVE' then 'active'
            when 'DISMISSED' then 'dismissed'
            else 'other'
        end as state,
        row_number() over (
            partition by id
            order by updated_at desc nulls last, coalesce(created_at, detected_at) desc nulls last
        ) as version
    from cloudlock_threats as threats
),
latest as (
    select
        versions.*,
        case when state = 'dismissed' and dismissed_at >= opened_at then dismissed_at end as closed_at
    from versions
    where version = 1
)
select
    id,
    state,
    opened_at,
    closed_at,
    -- of seconds since 1970: the difference of two instants itself may count the days of the session's time zone
    cast((extract(epoch from closed_at) - extract(epoch from opened_at)) / 3600 as double precision)
        as hours_to_dismissal,
    threat_risk,
    threat_type,
    threat_entity,
    short_description,
    description,
    event_count,
    platforms,
    locations,
    users,
    suspicious_ip,
    status,
    dismiss_reason,
    created_at,
    updated_at,
    detected_at,
    start_time,
    end_time,
    dismissed_at,
    _extra
from latest;


-- How long anomalies wait until somebody dismisses them, by the week and the risk they were created with. Percentiles
-- cannot be added up: for other groups, such as threat_type, ask cloudlock_threats_current in the same way.
--
--   week           the Monday, UTC, of the week in which they were created
--   threat_risk    as Cloudlock wrote it, may be null
--   created        how many were created, the sum of the next three
--   dismissed      ... of which it is known when they were dismissed: the hours are theirs
--   still_open     ... which are active: as long as there are many, the hours of their week will still rise
--   unclear        ... dismissed at no time that makes sense, or of a status that Cloudlock does not document
--   median_hours   half of those dismissed took no longer, null when none were, as are the next two
--   p90_hours      nine of ten of those dismissed took no longer
--   longest_hours  none of those dismissed took longer
create or replace view cloudlock_threats_time_to_dismissal as
select
    cast(date_trunc('week', opened_at at time zone 'UTC') as date) as week,
    threat_risk,
    count(*) as created,
    count(closed_at) as dismissed,
    count(case when state = 'active' then 1 end) as still_open,
    count(case when state <> 'active' and closed_at is null then 1 end) as unclear,
    percentile_cont(0.5) within group (order by hours_to_dismissal) as median_hours,
    percentile_cont(0.9) within group (order by hours_to_dismissal) as p90_hours,
    max(hours_to_dismissal) as longest_hours
from cloudlock_threats_current
group by cast(date_trunc('week', opened_at at time zone 'UTC') as date), threat_risk;


-- How many anomalies were open at the end of each UTC day: created before, and not dismissed before. Every day has a
-- row, from the first to the last that was loaded. (How many are open now: state = 'active' in
-- cloudlock_threats_current.)
--
--   day        UTC
--   complete   whether all of the day was loaded: the last one may be partial, and where one before it was not loaded,
--              the counts from there on lack what was created that day
--   created    how many were created that day
--   dismissed  how many were dismissed that day, whenever they were created
--   still_open how many were open at its end
--   unclear    how many more of those created so far may have been: dismissed at no time that makes sense, or of
--              a status that Cloudlock does not document
create or replace view cloudlock_threats_open_by_day as
with recursive loaded as (
    -- There is one load per day; its window ends early if the day was in progress when it was extracted.
    select
        cast(window_start at time zone 'UTC' as date) as day,
        sum(extract(epoch from window_end) - extract(epoch from window_start)) as seconds
    from cloudlock_loads
    where resource = 'threats'
    group by cast(window_start at time zone 'UTC' as date)
),
events as (
    select
        cast(opened_at at time zone 'UTC' as date) as day,
        1 as created,
        0 as dismissed,
        case when state <> 'active' and closed_at is null then 1 else 0 end as unclear
    from cloudlock_threats_current
    union all
    select cast(closed_at at time zone 'UTC' as date), 0, 1, 0
    from cloudlock_threats_current
    where closed_at is not null
),
by_day as (
    select day, sum(created) as created, sum(dismissed) as dismissed, sum(unclear) as unclear
    from events
    group by day
),
-- A day after the last one created or loaded may know dismissals already, but not what was created in it.
span as (
    select min(day) as first_day, max(day) as last_day
    from (select day from loaded union all select day from events where created = 1) as known
),
days (day, last_day) as (
    select first_day, last_day from span where first_day is not null
    union all
    select day + 1, last_day from days where day < last_day
)
select
    days.day,
    coalesce(loaded.seconds, 0) >= 86400 as complete,
    cast(coalesce(by_day.created, 0) as bigint) as created,
    cast(coalesce(by_day.dismissed, 0) as bigint) as dismissed,
    cast(
        sum(coalesce(by_day.created - by_day.dismissed - by_day.unclear, 0)) over (order by days.day) as bigint
    ) as still_open,
    cast(sum(coalesce(by_day.unclear, 0)) over (order by days.day) as bigint) as unclear
from days
left join loaded on loaded.day = days.day
left join by_day on by_day.day = days.day;
