package ebbtide.rival;

import java.util.Map;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.Cache;
import org.rocksdb.CompressionType;
import org.rocksdb.InfoLogLevel;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.WriteBufferManager;

/** Bounded memory for all stores together, as Confluent's "Memory management" advises, and Bloom filters for new users. */
public final class RocksTuning implements RocksDBConfigSetter {
    private static final long BLOCKS_BYTES = 192L << 20, WRITE_BUFFERS_BYTES = 128L << 20, BUFFER_BYTES = 32L << 20;
    private static final Cache CACHE = new LRUCache(BLOCKS_BYTES, -1, false, 0.1);
    private static final WriteBufferManager BUFFERS = new WriteBufferManager(WRITE_BUFFERS_BYTES, CACHE);

    private final BloomFilter filter = new BloomFilter(10, false);

    @Override
    public void setConfig(String storeName, Options options, Map<String, Object> configs) {
        BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
        table.setBlockCache(CACHE);
        table.setCacheIndexAndFilterBlocks(true);
        table.setCacheIndexAndFilterBlocksWithHighPriority(true);
        table.setPinTopLevelIndexAndFilter(true);
        table.setFilterPolicy(filter);
        options.setTableFormatConfig(table);
        options.setWriteBufferManager(BUFFERS);
        options.setWriteBufferSize(BUFFER_BYTES);
        options.setMaxWriteBufferNumber(3);
        options.setCompressionType(CompressionType.LZ4_COMPRESSION);
        options.setInfoLogLevel(InfoLogLevel.ERROR_LEVEL);
    }

    @Override
    public void close(String storeName, Options options) {
        filter.close();
    }
}
