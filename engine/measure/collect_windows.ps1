# Collects how a Hyper-V host's adapters serve Virtual Machine Queues, as one JSON for vmqtui.
#
#   powershell -ExecutionPolicy Bypass -File collect.ps1 > host.json          one minute, PowerShell 3 to 7
#   vmqtui import host.json          vmqtui play host.json          vmqtui advise host.json
#
# It changes nothing: it runs Get- cmdlets only, and prints. Run it as an administrator; what a cmdlet refuses is
# noted by its name, and the rest is collected.
#
# It collects: the host's name and its build of Windows; processors and NUMA nodes; network adapters, with driver, link,
# VMQ, RSS and receive buffers; their queues and filters; teams; virtual switches; virtual machines (name, id, state) and
# their adapters (MAC, VLAN); and counters, every few seconds for a minute: frames by adapter and processor, by virtual
# adapter and by port, and the time of processors in interrupts and DPCs.
# It collects no IP address, no user name, no password, no file, no traffic, and nothing from inside a virtual machine.
#
# Counters are read from CIM classes (Win32_PerfRawData_...), whose names are the same in each language of Windows; those
# of Get-Counter are translated.

param(
    [int]$Seconds = 60,
    [int]$Interval = 5
)

$ErrorActionPreference = 'Continue'
$script:failed = @()
$epoch = New-Object -TypeName DateTime -ArgumentList 1970, 1, 1, 0, 0, 0, ([DateTimeKind]::Utc)

function Get-TimeMs {
    [long]([DateTime]::UtcNow - $epoch).TotalMilliseconds
}

function Get-Failure($name, $record) {
    # The id and kind of an error are neither translated, nor do they name files or users.
    if (@($script:failed | Where-Object { $_.name -eq $name }).Count -eq 0) {
        $kind = '{0} ({1})' -f $record.FullyQualifiedErrorId, $record.CategoryInfo.Category
        $script:failed += @{ name = $name; message = $kind }
    }
}

function Get-Plain($value, $depth) {
    # Enumerations become their names, CIM instances tables of their properties, lists stay lists.
    if ($null -eq $value) { return $null }
    if ($value -is [enum]) { return $value.ToString() }
    if ($value -is [string]) { return [string]$value }
    if ($value.GetType().IsPrimitive) { return $value }
    if ($depth -gt 2) { return [string]$value }
    if ($value -is [Collections.IEnumerable]) {
        $list = @()
        foreach ($one in $value) { $list += , (Get-Plain $one ($depth + 1)) }
        return , $list
    }
    if ($value.PSObject.Properties['CimInstanceProperties']) {
        $cells = @{}
        foreach ($property in $value.CimInstanceProperties) {
            $cells[$property.Name] = Get-Plain $property.Value ($depth + 1)
        }
        return $cells
    }
    return [string]$value
}

function Get-Rows($name, $properties, $block) {
    # Runs a block, and keeps the named properties of each object that it returns.
    $rows = @()
    try {
        foreach ($found in @(& $block 2>&1)) {
            if ($found -is [Management.Automation.ErrorRecord]) {
                Get-Failure $name $found
                continue
            }
            if ($null -eq $found) { continue }
            $cells = @{}
            foreach ($property in $properties) {
                $known = $found.PSObject.Properties[$property]
                if ($null -ne $known) { $cells[$property] = Get-Plain $known.Value 0 }
            }
            $rows += $cells
        }
    } catch {
        Get-Failure $name $_
    }
    return , $rows
}

function Get-Queues {
    Get-Rows 'Get-NetAdapterVmqQueue' @('Name', 'QueueID', 'State', 'NumFilters', 'ProcessorAffinityMask',
        'ProcessorGroup', 'VmID', 'VmFriendlyName', 'QueueName', 'FilterList') { Get-NetAdapterVmqQueue }
}

function Get-Configuration {
    $tables = @{}
    $tables['Win32_OperatingSystem'] = Get-Rows 'Win32_OperatingSystem' @('BuildNumber', 'Caption') {
        Get-CimInstance -ClassName Win32_OperatingSystem
    }
    $tables['Win32_Processor'] = Get-Rows 'Win32_Processor' @('Name', 'NumberOfCores', 'NumberOfLogicalProcessors',
        'MaxClockSpeed') { Get-CimInstance -ClassName Win32_Processor }
    $tables['Get-VMHostNumaNode'] = Get-Rows 'Get-VMHostNumaNode' @('NodeId', 'ProcessorsAvailability') {
        Get-VMHostNumaNode
    }
    $tables['VMSMP'] = Get-Rows 'VMSMP' @('BelowTenGigVmqEnabled', 'TenGigVmqEnabled') {
        Get-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\VMSMP\Parameters'
    }
    $tables['Get-NetAdapter'] = Get-Rows 'Get-NetAdapter' @('Name', 'InterfaceDescription', 'DriverFileName',
        'DriverVersion', 'DriverMajorNdisVersion', 'DriverMinorNdisVersion', 'ReceiveLinkSpeed', 'Speed', 'MtuSize',
        'MediaConnectState', 'HardwareInterface') { Get-NetAdapter }
    $tables['Get-NetAdapterHardwareInfo'] = Get-Rows 'Get-NetAdapterHardwareInfo' @('Name', 'NumaNode') {
        Get-NetAdapterHardwareInfo
    }
    $tables['Get-NetAdapterAdvancedProperty'] = Get-Rows 'Get-NetAdapterAdvancedProperty' @('Name',
        'RegistryKeyword', 'RegistryValue', 'NumericParameterMaxValue') {
        Get-NetAdapterAdvancedProperty -RegistryKeyword '*ReceiveBuffers'
    }
    $tables['Get-NetAdapterRss'] = Get-Rows 'Get-NetAdapterRss' @('Name', 'Enabled', 'RssProcessorArray') {
        $array = @{
            Name = 'RssProcessorArray'
            Expression = {
                @($_.RssProcessorArray | ForEach-Object {
                    '{0}:{1}/{2}' -f $_.ProcessorGroup, $_.ProcessorNumber, $_.PreferenceIndex
                })
            }
        }
        Get-NetAdapterRss | Select-Object -Property @('Name', 'Enabled', $array)
    }
    $tables['Get-NetAdapterVmq'] = Get-Rows 'Get-NetAdapterVmq' @('Name', 'InterfaceDescription', 'Enabled',
        'NumberOfReceiveQueues', 'TotalNumberOfMacAddresses', 'VlanFilteringSupported', 'MinLookaheadSplitSize',
        'MaxLookaheadSplitSize', 'DynamicProcessorAffinityChangeSupported', 'BaseProcessorGroup',
        'BaseProcessorNumber', 'MaxProcessors', 'MaxProcessorNumber', 'NumaNode') { Get-NetAdapterVmq }
    $tables['Get-NetAdapterVmqQueue'] = Get-Queues
    $tables['Get-NetAdapterVPort'] = Get-Rows 'Get-NetAdapterVPort' @('Name', 'VPortID', 'VPortName', 'VPortState',
        'FunctionID', 'ProcessorAffinityMask', 'ProcessorGroup', 'NumQueuePairs', 'NumFilters', 'FilterList') {
        Get-NetAdapterVPort
    }
    $tables['Get-NetLbfoTeam'] = Get-Rows 'Get-NetLbfoTeam' @('Name', 'Members', 'TeamingMode',
        'LoadBalancingAlgorithm') { Get-NetLbfoTeam }
    $tables['Get-NetLbfoTeamNic'] = Get-Rows 'Get-NetLbfoTeamNic' @('Name', 'Team', 'InterfaceDescription') {
        Get-NetLbfoTeamNic
    }
    $tables['Get-VMSwitch'] = Get-Rows 'Get-VMSwitch' @('Name', 'SwitchType', 'EmbeddedTeamingEnabled',
        'NetAdapterInterfaceDescription', 'NetAdapterInterfaceDescriptions', 'AvailableVMQueues',
        'NumberVmqAllocated', 'DefaultQueueVmmqEnabled', 'DefaultQueueVmmqQueuePairs') { Get-VMSwitch }
    $tables['Get-VM'] = Get-Rows 'Get-VM' @('Id', 'Name', 'State') { Get-VM }
    $tables['Get-VMNetworkAdapter'] = Get-Rows 'Get-VMNetworkAdapter' @('Id', 'Name', 'VMName', 'VMId',
        'IsManagementOs', 'SwitchName', 'MacAddress', 'VmqWeight', 'VmqUsage', 'VrssEnabled', 'VmmqEnabled',
        'VmmqQueuePairs', 'VrssQueueSchedulingMode') { Get-VMNetworkAdapter -All }
    $tables['Get-VMNetworkAdapterVlan'] = Get-Rows 'Get-VMNetworkAdapterVlan' @('AdapterId', 'OperationMode',
        'AccessVlanId', 'NativeVlanId', 'AllowedVlanIdListString') {
        Get-VMNetworkAdapter -All | ForEach-Object {
            $id = $_.Id
            $adapter = @{ Name = 'AdapterId'; Expression = { $id } }
            $wanted = @('OperationMode', 'AccessVlanId', 'NativeVlanId', 'AllowedVlanIdListString', $adapter)
            Get-VMNetworkAdapterVlan -VMNetworkAdapter $_ | Select-Object -Property $wanted
        }
    }
    return $tables
}

function Get-Known($description) {
    # Instances of counters have other characters for some of a description's.
    return ([string]$description).Replace('(', '[').Replace(')', ']').Replace('#', '_').Replace('/', '_').Replace(
        '\', '_').Trim().ToLowerInvariant()
}

function Get-Sample($adapters) {
    # The counters of this moment; of the activity by processor only that of the named adapters.
    $tables = @{}
    $time = Get-TimeMs
    $class = 'Win32_PerfRawData_Counters_PerProcessorNetworkInterfaceCardActivity'
    $tables[$class] = Get-Rows $class @('Name', 'ReceivedPacketsPersec', 'InterruptsPersec', 'DPCsQueuedPersec') {
        Get-CimInstance -ClassName Win32_PerfRawData_Counters_PerProcessorNetworkInterfaceCardActivity |
            Where-Object {
                $parts = @($_.Name -split ',', 2)
                $parts.Count -eq 2 -and $adapters -contains (Get-Known $parts[1])
            }
    }
    $class = 'Win32_PerfRawData_Counters_ProcessorInformation'
    $tables[$class] = Get-Rows $class @('Name', 'PercentDPCTime', 'PercentInterruptTime', 'Timestamp_Sys100NS') {
        Get-CimInstance -ClassName Win32_PerfRawData_Counters_ProcessorInformation
    }
    $class = 'Win32_PerfRawData_NvspNicStats_HyperVVirtualNetworkAdapter'
    $tables[$class] = Get-Rows $class @('Name', 'PacketsReceivedPersec', 'BytesReceivedPersec',
        'DroppedPacketsIncomingPersec') {
        Get-CimInstance -ClassName Win32_PerfRawData_NvspNicStats_HyperVVirtualNetworkAdapter
    }
    $tables['Get-NetAdapterStatistics'] = Get-Rows 'Get-NetAdapterStatistics' @('Name', 'ReceivedUnicastPackets',
        'ReceivedMulticastPackets', 'ReceivedBroadcastPackets', 'ReceivedBytes', 'ReceivedDiscardedPackets') {
        Get-NetAdapterStatistics
    }
    $tables['Get-NetAdapterVmqQueue'] = Get-Queues
    return @{ time_ms = $time; tables = $tables }
}

function Get-Document($seconds) {
    $script:failed = @()
    $started = Get-TimeMs
    $tables = Get-Configuration
    $adapters = @($tables['Get-NetAdapterVmq'] | ForEach-Object { Get-Known $_['InterfaceDescription'] })
    $samples = @()
    $first = Get-TimeMs
    for ($number = 0; $number * $Interval -le $seconds; $number++) {
        $wait = $first + 1000 * $number * $Interval - (Get-TimeMs)
        if ($wait -gt 0) { Start-Sleep -Milliseconds $wait }
        $samples += Get-Sample $adapters
    }
    $document = @{
        schema = 'vmq.windows/1'
        host = [Environment]::MachineName
        time_ms = $started
        tables = $tables
        samples = $samples
        errors = $script:failed
    }
    $json = ConvertTo-Json -InputObject $document -Depth 12 -Compress
    # Characters beyond ASCII are escaped, so that no console or redirection can spoil them.
    return [regex]::Replace($json, '[^\x20-\x7e]', { param($found) '\u{0:x4}' -f [int][char]$found.Value })
}

$Interval = [Math]::Max(1, $Interval)
if ($Seconds -gt 0) { [Console]::Error.WriteLine("Collecting for $Seconds seconds ...") }
Get-Document $Seconds
